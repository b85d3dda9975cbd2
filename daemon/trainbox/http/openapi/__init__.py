"""The OpenAPI 3.1 document of every mounted route, and the page that shows it."""

from trainbox.http.openapi.document import InvalidOperation
from trainbox.http.openapi.mounted import offline_document, own_routes

__all__ = ["InvalidOperation", "offline_document", "own_routes"]
