"""What the store takes and gives beside the SDK's views: frozen records, no rows, no SQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.calls.jobs import ALONE
from trainbox_sdk.documents import Along
from trainbox_sdk.jobs import JobSpec, JobView, Resources, State
from trainbox_sdk.tasks import StepPlan


@dataclass(frozen=True)
class NewJob:
    """A job that passed every check, about to be inserted.

    Attributes:
        request_digest: sha256 of the canonical request; the same key with another digest clashes.
        identity: the same for jobs that would do the same; empty where that is not known.
        reuse: answer an identical job instead of storing this one.
        actor: who the audit log names; empty for the owner.
        along: what is written with it.
    """

    id: str
    owner: str
    spec: JobSpec
    resources: Resources
    backend: str
    steps: tuple[StepPlan, ...]
    idempotency_key: str | None = None
    request_digest: str = ""
    identity: str = ""
    reuse: bool = False
    actor: str = ""
    along: Along = ALONE


@dataclass(frozen=True)
class Inserted:
    """The stored job, and whether the key had stored it before.

    Attributes:
        reused: the job is an identical one of before; nothing was stored.
        identical_to: an identical job that succeeded or is under way, if there is one.
    """

    job: JobView
    replayed: bool
    reused: bool = False
    identical_to: str | None = None


@dataclass(frozen=True)
class StepRecord:
    """A step as the engine drives it.

    Attributes:
        attempt_id: the current attempt; None before the first.
        attempt: its number, from 1; 0 before the first.
        cancel_requested: someone asked; recorded before the sandbox is stopped.
        events_offset: bytes of the guest's event file that are committed.
        deadline_at: absolute wall-clock limit of the current attempt.
        started_at: when the current attempt's sandbox was seen running.
        environment_ref: what the current attempt was started in.
    """

    id: str
    job_id: str
    plan: StepPlan
    state: State
    task: str
    job_name: str
    owner: str
    dataset_id: str | None
    resources: Resources
    backend: str
    priority: int
    queued_at: datetime
    reason_code: str
    attempt_id: str | None = None
    attempt: int = 0
    cancel_requested: bool = False
    events_offset: int = 0
    deadline_at: datetime | None = None
    started_at: datetime | None = None
    environment_ref: str = ""
    after_done: bool = True


@dataclass(frozen=True)
class Outcome:
    """Everything a transition may write, beside the new state.

    Attributes:
        reason_code, reason: a stable word and a sentence for people.
        cpu_s, peak_cpus, confinement: as in :class:`~trainbox_sdk.backends.Observation`; None and
            empty leave what is known.
        data: further facts for the event.
    """

    reason_code: str = ""
    reason: str = ""
    exit_code: int | None = None
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    peak_cpus: float | None = None
    confinement: Mapping[str, str] = field(default_factory=dict)
    deadline_at: datetime | None = None
    environment_ref: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class NewArtifact:
    """A published blob that a step declared."""

    id: str
    name: str
    kind: str
    digest: str
    bytes: int
    media_type: str


@dataclass(frozen=True)
class NewModel:
    """A model version to be numbered and inserted with its step's success.

    Attributes:
        facts: what is true now and its directory will tell: JSON-able.
    """

    id: str
    name: str
    artifact_id: str
    signature: Mapping[str, Any]
    metrics: Mapping[str, float]
    parity: Mapping[str, Any]
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Succeeded:
    """A step that has just succeeded, and the model version it made, if it made one."""

    step: StepRecord
    model: ModelView | None


@dataclass(frozen=True)
class GuestEvent:
    """One event line of a guest, decoded."""

    kind: str
    at: datetime
    data: Mapping[str, Any]
