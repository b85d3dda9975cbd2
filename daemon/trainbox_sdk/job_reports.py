"""What is told about jobs beside the jobs themselves: comparisons, reasons, repetitions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainbox_sdk.jobs import JobView, Resources, State


@dataclass(frozen=True)
class ComparedJob:
    """One column of a comparison.

    Attributes:
        duration_s: seconds from its start to its end; None before.
        dataset_digest: ``sha256:<hex>`` of the data; None without a dataset.
        peak_memory_bytes: the largest of its last attempts, where known.
    """

    id: str
    name: str
    task: str
    state: State
    created_at: datetime
    duration_s: float | None
    resources: Resources
    peak_memory_bytes: int | None
    dataset_id: str | None
    dataset_digest: str | None
    model_id: str | None


@dataclass(frozen=True)
class Difference:
    """One parameter that is not the same everywhere.

    Attributes:
        path: its name, with dots into nested ones.
        values: one per job, in order; None where a job does not have it.
    """

    path: str
    values: tuple[Any, ...]


@dataclass(frozen=True)
class ComparedMetric:
    """One metric side by side.

    Attributes:
        values: one per job, in order; None where a job does not have it.
        better: ``lower``, ``higher``, or ``""`` where nobody says.
        best: positions of the best values; empty where ``better`` is.
    """

    name: str
    values: tuple[float | None, ...]
    better: str
    best: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Jobs side by side.

    Attributes:
        same_data: whether all of them read the same bytes.
    """

    jobs: tuple[ComparedJob, ...]
    differences: tuple[Difference, ...]
    metrics: tuple[ComparedMetric, ...]
    same_data: bool


@dataclass(frozen=True)
class Reproduction:
    """How to submit the same job again: texts that run as they are.

    Attributes:
        request: the body of ``POST /v1/jobs``.
        curl, cli, python: the same as commands; the token comes from ``TRAINBOX_TOKEN``.
    """

    request: Mapping[str, Any]
    curl: str
    cli: str
    python: str


@dataclass(frozen=True)
class NextStep:
    """One thing to do now.

    Attributes:
        text: in words.
        curl, cli: commands that do it; empty where none does.
    """

    text: str
    curl: str = ""
    cli: str = ""


@dataclass(frozen=True)
class Waiting:
    """Why a queued job does not run yet.

    Attributes:
        position: 1 for the next to start on its backend.
        ahead: the job directly before it, if any.
        short: resource to what is asked and what is free.
    """

    position: int
    ahead: str | None = None
    short: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """What was seen when a job ended.

    Attributes:
        step, attempt: the run that decided it.
        log_tail: its last lines, twenty at most.
    """

    step: str
    attempt: int
    exit_code: int | None = None
    peak_memory_bytes: int | None = None
    memory_limit_bytes: int | None = None
    duration_s: float | None = None
    log_tail: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """Where a job stands and why, in words, numbers and commands.

    Attributes:
        kind: whose matter it is: ``waiting``, ``code``, ``data``, ``limits``, ``environment``,
            ``host``, ``request``, ``daemon``, or empty where there is nothing to explain.
        meaning: what the reason code says in general.
    """

    job: JobView
    kind: str
    meaning: str
    waiting: Waiting | None
    evidence: Evidence | None
    next_steps: tuple[NextStep, ...]


@dataclass(frozen=True)
class Freed:
    """What a deletion gave back.

    Attributes:
        bytes_freed: room on the disk, in bytes.
        kept: files that stay because a model needs them, by artifact name.
    """

    job: JobView
    bytes_freed: int
    kept: tuple[str, ...] = ()
