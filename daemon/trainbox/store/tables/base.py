"""The rows, one class per table; nothing outside the store sees them.

STRICT tables, times as integer UTC microseconds, order by ``seq`` and never by a clock. JSON is
kept as text: the daemon reads it whole or not at all. ``triggers`` adds what a table cannot say.
"""

from __future__ import annotations

from typing import Any, ClassVar

from sqlalchemy import (
    CheckConstraint,
    Column,
    Integer,
    MetaData,
    Text,
)
from sqlmodel import Field, SQLModel

from trainbox import states
from trainbox_sdk.jobs import TERMINAL, State


def quoted(states: Any) -> str:
    """Return states as a SQL list, in the order of the enumeration."""
    return ", ".join(f"'{state}'" for state in State if state in set(states))


LIVE = f"state NOT IN ({quoted(TERMINAL)})"
"""The condition of the partial indexes over what still moves."""
ACTIVE = f"state IN ({quoted(states.ACTIVE)})"

metadata = MetaData()


class Row(SQLModel):
    """Base of all rows: one metadata of our own, so that strangers' models stay out of it."""

    metadata: ClassVar[MetaData] = metadata


def seq_column() -> Any:
    """Return the rowid, which orders the rows; never used twice."""
    return Field(default=None, sa_column=Column(Integer, primary_key=True, autoincrement=True))


def text_column(*arguments: Any, **options: Any) -> Any:
    """Return text, not null unless said."""
    return Field(sa_column=Column(Text, *arguments, **{"nullable": False, **options}))


def integer_column(**options: Any) -> Any:
    """Return an integer, not null unless said."""
    return Field(sa_column=Column(Integer, **{"nullable": False, **options}))


def state_column() -> Any:
    """Return one of the states."""
    return Field(
        sa_column=Column(Text, CheckConstraint(f"state IN ({quoted(State)})"), nullable=False)
    )


def table_options(*items: Any) -> Any:
    """Return constraints and the options of every table."""
    return (*items, {"sqlite_strict": True, "sqlite_autoincrement": True})
