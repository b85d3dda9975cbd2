"""The newest schema as DDL text, from the row classes and the triggers.

Migrations freeze what this returned when they were written; nothing at run time creates tables from
here, so that a database made today and one migrated from the first release are the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.dialects import sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from trainbox.store.tables import metadata
from trainbox.store.triggers import triggers


def ddl() -> Sequence[str]:
    """Return the ``CREATE`` statements of the newest schema in an order that works."""
    dialect = sqlite.dialect()
    statements: list[str] = []
    for table in metadata.sorted_tables:
        statements.append(str(CreateTable(table).compile(dialect=dialect)))
        indexes = sorted(table.indexes, key=lambda index: str(index.name))
        statements += [str(CreateIndex(index).compile(dialect=dialect)) for index in indexes]
    return [tidy(statement) for statement in (*statements, *triggers())]


def tidy(statement: str) -> str:
    """Return a statement with blanks that mean nothing removed, to compare two of them."""
    lines = (line.rstrip().replace("\t", "    ") for line in statement.strip().splitlines())
    return "\n".join(line for line in lines if line)
