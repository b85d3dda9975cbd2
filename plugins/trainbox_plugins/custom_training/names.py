"""Ids and words of this dialect, and the engine's for the same things."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from trainbox_sdk.jobs import JobView, State

SPACE = "custom_training"
"""Name of the surface, and of its documents."""
RUN_LABEL = "run_id"
"""Label of a job that is a run."""
TIMEOUT = "timeout"
"""The engine's reason code of a job that ran into its time limit."""

ModelType = Literal["auto", "custom"]
TaskKind = Literal["classification", "regression", "clustering"]
RunStatus = Literal["queued", "running", "completed", "failed", "cancelled"]
ModelStatus = Literal["draft", "training", "ready", "archived"]

RUN_STATES: Mapping[State, RunStatus] = {
    State.QUEUED: "queued",
    State.PREPARING: "running",
    State.RUNNING: "running",
    State.COLLECTING: "running",
    State.VERIFYING: "running",
    State.SUCCEEDED: "completed",
    State.FAILED: "failed",
    State.CANCELLED: "cancelled",
    State.INTERRUPTED: "failed",
}
LIVE = frozenset(state for state in State if not state.terminal)

_WORDS: Mapping[str, str] = {"timeout_s": "timeout_seconds", "memory_bytes": "compute.memory_gb"}
_NATIVE = re.compile(rf"\b(?:{'|'.join(_WORDS)})\b")
_BLANK = re.compile(r"[\t-\r\x85\u2028\u2029]+")
_UNSEEN = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Controls, marks that turn the direction of writing, and halves of surrogate pairs."""

_PREFIXES = (("ver-", "mdl_"), ("ast-", "ast_"))


def new_model_id() -> str:
    """Return ``mdl-`` and 64 random bits: who knows an id has been told it."""
    return f"mdl-{secrets.token_hex(8)}"


def new_run_id(model_type: ModelType, at: datetime | None = None) -> str:
    """Return ``run-custom-YYYYMMDD-xxxxxx``; may be taken already."""
    day = (at or datetime.now(UTC)).strftime("%Y%m%d")
    return f"run-{model_type}-{day}-{secrets.token_hex(3)}"


def shown(engine_id: str) -> str:
    """Return what the dialect calls a version or an asset."""
    for ours, theirs in _PREFIXES:
        if engine_id.startswith(theirs):
            return ours + engine_id.removeprefix(theirs)
    return engine_id


def meant(wire_id: str) -> str:
    """Return what the engine calls what the dialect calls so."""
    for ours, theirs in _PREFIXES:
        if wire_id.startswith(ours):
            return theirs + wire_id.removeprefix(ours)
    return wire_id


def in_our_words(text: str) -> str:
    """Return a sentence of the engine with this dialect's names for what it speaks of."""
    return _NATIVE.sub(lambda found: _WORDS[found[0]], text)


def readable(text: str) -> str:
    """Return text of a script as one line that does nothing to the screen it is shown on."""
    return _UNSEEN.sub("\ufffd", _BLANK.sub(" ", text))


def run_status(job: JobView) -> RunStatus:
    """Return the dialect's word for a job's state; running out of time is a cancellation."""
    if job.state is State.FAILED and job.reason_code == TIMEOUT:
        return "cancelled"
    return RUN_STATES[job.state]


def stamp(at: datetime | None) -> str | None:
    """Return a time as ``2026-03-13T16:10:00Z``, to the millisecond where there are any."""
    if at is None:
        return None
    at = at.astimezone(UTC)
    text = at.isoformat(timespec="milliseconds" if at.microsecond else "seconds")
    return text.replace("+00:00", "Z")
