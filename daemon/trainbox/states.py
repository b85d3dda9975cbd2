"""The transition table of a step, as data. ``docs/states.md`` draws it; a test holds them equal."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from trainbox_sdk.jobs import State

S = State

TRANSITIONS: Mapping[State, frozenset[State]] = {
    S.QUEUED: frozenset({S.PREPARING, S.CANCELLED, S.FAILED}),
    S.PREPARING: frozenset({S.RUNNING, S.FAILED, S.CANCELLED, S.INTERRUPTED}),
    S.RUNNING: frozenset({S.COLLECTING, S.FAILED, S.CANCELLED, S.INTERRUPTED}),
    S.COLLECTING: frozenset({S.VERIFYING, S.SUCCEEDED, S.FAILED, S.CANCELLED, S.INTERRUPTED}),
    S.VERIFYING: frozenset({S.SUCCEEDED, S.FAILED, S.CANCELLED, S.INTERRUPTED}),
    S.SUCCEEDED: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
    S.INTERRUPTED: frozenset(),
}
"""Allowed moves of one attempt. A retry does not move a terminal attempt: it makes a new one, and
the step starts again at ``queued``."""

ACTIVE = frozenset({S.PREPARING, S.RUNNING, S.COLLECTING, S.VERIFYING})
"""States in which a sandbox may exist."""


class IllegalTransition(ValueError):
    """A move that the table does not have; a bug, never a race."""


def require(before: State, after: State) -> None:
    """Raise unless the table allows the move.

    Raises:
        IllegalTransition: naming both states.
    """
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(f"a step cannot go from {before} to {after}")


def job_state(steps: Collection[State]) -> State:
    """Return a job's state from its steps' states.

    One failed step decides over cancelled over interrupted; otherwise the furthest active step
    speaks for the job, and a job with nothing active is queued until all steps have succeeded.
    """
    present = set(steps)
    active = [
        state for state in (S.VERIFYING, S.COLLECTING, S.RUNNING, S.PREPARING) if state in present
    ]
    if active:
        return active[0]
    for state in (S.FAILED, S.CANCELLED, S.INTERRUPTED):
        if state in present:
            return state
    return S.SUCCEEDED if present == {S.SUCCEEDED} else S.QUEUED
