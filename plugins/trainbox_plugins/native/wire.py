"""The words of ``/v1``: what comes in as pydantic models, what goes out as typed dictionaries.

Incoming models refuse unknown fields, wrong types and numbers that JSON does not have. Outgoing
ones are dictionaries, since a checked and a serialised model per answer would cost more than the
answer; tests hold every response against these types.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema

from trainbox_plugins.native.reading import as_json_schema_has_it

PRINTABLE = r"^[^\x00-\x1f\x7f]*$"
"""Text that fits on one line of a log or a terminal: no control characters."""

Cell = float | int | str | bool | None


Name = Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]


Limit = Annotated[int, Field(ge=1, le=500)]


INT64 = 2**63 - 1
"""Largest number a store or a file offset takes; a larger one is a mistake of the caller."""


YEAR_S = 366 * 24 * 3600


class Incoming(BaseModel):
    """Anything that comes in."""

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Return the schema, with integers and times as JSON Schema has them."""
        return as_json_schema_has_it(handler(source))


class Body(Incoming):
    """Base of JSON bodies: nothing is guessed, nothing is ignored."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Query(Incoming):
    """Base of query strings: text in, so numbers are parsed; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class PageQuery(Query):
    """Any listing."""

    limit: Limit = 50
    after: str | None = None


class NoQuery(Query):
    """A route without query."""
