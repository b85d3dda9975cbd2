"""The job store: SQLModel rows in one SQLite file, one writer, named queries that return views."""

from trainbox.store.db import Store
from trainbox.store.errors import StoreError

__all__ = ["Store", "StoreError"]
