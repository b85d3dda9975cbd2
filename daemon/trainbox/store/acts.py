"""Lines for the audit log that ride in the transaction of a change."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from trainbox.store import codec
from trainbox.store.transaction import Transaction
from trainbox_sdk.documents import Act
from trainbox_sdk.jobs import State

DAEMON = "daemon"
"""Who ends a job: the daemon finds out; who asked for it has a line of his own."""


def write(tx: Transaction, who: str, acts: Iterable[Act], *, this: str = "") -> None:
    """Write lines in order.

    Args:
        tx: the transaction of the change.
        who: acts.
        acts: the lines.
        this: id of the thing they are written with; stands for an object that is not named.
    """
    for act in acts:
        tx.audit(who, act.act, act.object or this, act.note)


def dump_at_end(acts: Mapping[str, Act]) -> str:
    """Return the lines of a job's end as JSON, by the state it ends in.

    Raises:
        ValueError: a word that is no terminal state.
    """
    for state in acts:
        if not State(state).terminal:
            raise ValueError(f"no job ends as {state!r}")
    return codec.dump({str(state): vars(act) for state, act in acts.items()})


def write_at_end(tx: Transaction, job_id: str, state: State) -> None:
    """Write what a job's submission wanted said of this end, if anything."""
    row = tx.one("SELECT at_end FROM jobs WHERE id = ?", (job_id,))
    assert row is not None, job_id
    if row["at_end"] == "{}":
        return
    told: Mapping[str, Any] | None = codec.load(row["at_end"]).get(state.value)
    if told is not None:
        write(tx, DAEMON, [Act(**told)], this=job_id)
