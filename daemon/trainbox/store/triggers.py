"""What a table cannot say by itself: the database refuses illegal moves and rewritten history.

The pairs come from :data:`trainbox.states.TRANSITIONS`; a migration freezes them, a test holds the
migrated database equal to this.
"""

from __future__ import annotations

from collections.abc import Sequence

from trainbox import states
from trainbox.store.tables import quoted
from trainbox_sdk.jobs import TERMINAL, State

RETRIED = (State.FAILED, State.CANCELLED, State.INTERRUPTED)
"""The terminal states that a retry leads a step out of."""


def _allowed() -> str:
    pairs = (
        f"(OLD.state = '{before}' AND NEW.state IN ({quoted(after)}))"
        for before, after in states.TRANSITIONS.items()
        if after
    )
    return "\n   OR ".join(pairs)


def _refuse(name: str, event: str, condition: str, message: str) -> str:
    when = f"WHEN {condition}\n" if condition else ""
    return (
        f"CREATE TRIGGER {name}\nBEFORE {event}\n{when}BEGIN SELECT RAISE(ABORT, '{message}'); END"
    )


def _append_only(table: str) -> list[str]:
    return [
        _refuse(f"{table}_no_update", f"UPDATE ON {table}", "", f"{table} is append-only"),
        _refuse(f"{table}_no_delete", f"DELETE ON {table}", "", f"{table} is append-only"),
    ]


def _steps() -> list[str]:
    retried = (
        f"(OLD.state IN ({quoted(RETRIED)}) AND NEW.state = 'queued'"
        " AND NEW.retries = OLD.retries + 1)"
    )
    return [
        _refuse(
            "steps_start_queued",
            "INSERT ON steps",
            "NEW.state <> 'queued'",
            "a step starts as queued",
        ),
        _refuse(
            "steps_move_by_the_table",
            "UPDATE OF state ON steps",
            f"OLD.state <> NEW.state AND NOT (\n      {_allowed()}\n   OR {retried})",
            "illegal move of a step",
        ),
        _refuse(
            "steps_retry_only_ended",
            "UPDATE OF retries ON steps",
            f"NEW.retries <> OLD.retries AND OLD.state NOT IN ({quoted(RETRIED)})",
            "only an ended step is retried",
        ),
    ]


def _attempts() -> list[str]:
    return [
        _refuse(
            "attempts_start_preparing",
            "INSERT ON attempts",
            "NEW.state <> 'preparing'",
            "an attempt starts as preparing",
        ),
        _refuse(
            "attempts_move_by_the_table",
            "UPDATE OF state ON attempts",
            f"OLD.state <> NEW.state AND NOT (\n      {_allowed()})",
            "illegal move of an attempt",
        ),
        _refuse(
            "attempts_frozen_at_the_end",
            "UPDATE ON attempts",
            f"OLD.state IN ({quoted(TERMINAL)})",
            "an ended attempt never changes",
        ),
    ]


def triggers() -> Sequence[str]:
    """Return the ``CREATE TRIGGER`` statements of the newest schema."""
    kept = ("events", "audit", "model_alias_changes")
    return [*_steps(), *_attempts(), *(line for table in kept for line in _append_only(table))]
