"""What the fake engine remembers, and how a test drives it: events, logs, ends of jobs."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import shutil
import tempfile
import weakref
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainbox_sdk.artifacts import ArtifactFile, DatasetView, ModelView
from trainbox_sdk.assets import AssetView
from trainbox_sdk.calls.tokens import SCOPES, AuditEntry, TokenView
from trainbox_sdk.documents import Act, Along, Document, DocumentKey
from trainbox_sdk.engine import Check, Principal
from trainbox_sdk.jobs import JobEvent, JobView, State
from trainbox_sdk.models import AliasChange
from trainbox_sdk.tasks import TaskInfo
from trainbox_sdk.testing import fake_data
from trainbox_sdk.uploads import UploadView

TOKEN = "fake-token"  # noqa: S105 - it opens nothing but the fake
OTHER_TOKEN = "other-token"  # noqa: S105
ONNX_BYTES = b"\x08\x08not a real model, bytes only" + bytes(range(256)) * 40


class FakeJobs:
    """Jobs in memory that a test moves by hand.

    Args:
        autorun: run every submitted job to success at once.

    Attributes:
        calls: names of the engine's methods called, in order.
        raises: method name to an exception that its next calls raise.
        checks: what readiness reports.
        printed: log bytes by job id.
        further_tasks: what is taken beside ``binclass``, whatever the parameters.
    """

    def __init__(self, *, autorun: bool = False) -> None:
        self.autorun = autorun
        self.calls: list[str] = []
        self.raises: dict[str, Exception] = {}
        self.checks: tuple[Check, ...] = (Check("store", ok=True, detail="in memory"),)
        self.printed: dict[str, bytes] = {}
        self.further_tasks: list[TaskInfo] = []
        self.principals = {
            TOKEN: Principal("user-1", "tester", frozenset(SCOPES)),
            OTHER_TOKEN: Principal("user-2", "other", frozenset(SCOPES)),
        }
        self._ids = itertools.count(1)
        self._tokens: dict[str, TokenView] = {}
        self._audit: list[AuditEntry] = []
        self._datasets: dict[str, DatasetView] = {}
        self._uploads: dict[str, tuple[UploadView, bytes]] = {}
        self._jobs: dict[str, JobView] = {}
        self._events: list[JobEvent] = []
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._alongs: dict[str, Along] = {}
        self._assets: dict[str, AssetView] = {}
        self._documents: dict[DocumentKey, Document] = {}
        self._models: dict[str, ModelView] = {}
        self._moves: list[AliasChange] = []
        self._artifacts: dict[str, ArtifactFile] = {}
        self._news = asyncio.Condition()
        self._folder = Path(tempfile.mkdtemp(prefix="trainbox-fake-"))
        self.close = weakref.finalize(self, shutil.rmtree, self._folder, ignore_errors=True)
        """Deletes the files behind artifacts; happens by itself with the engine."""

    async def emit(self, job_id: str, kind: str, **data: Any) -> JobEvent:
        """Commit an event, and what it says about the job; returns it."""
        job = self._jobs[job_id]
        event = JobEvent(len(self._events) + 1, job_id, kind, fake_data.now(), data)
        if kind == "progress":
            job = replace(job, progress=data["fraction"], eta_s=data.get("eta_s"))
        elif kind == "metric":
            job = replace(job, metrics={**job.metrics, data["name"]: data["value"]})
        elif kind == "state":
            job = fake_data.moved(job, State(data["state"]), data.get("reason_code", ""), data)
        ended = job.state.terminal and not self._jobs[job_id].state.terminal
        self._jobs[job_id] = job
        if ended and (act := self._alongs.get(job_id, Along()).at_end.get(str(job.state))):
            self._note("daemon", [act], empty=job_id)
        async with self._news:
            self._events.append(event)
            self._news.notify_all()
        return event

    async def write_log(self, job_id: str, data: bytes) -> None:
        """Append what the job printed."""
        async with self._news:
            self.printed[job_id] = self.printed.get(job_id, b"") + data
            self._news.notify_all()

    async def finish(self, job_id: str, state: State = State.SUCCEEDED, reason: str = "") -> None:
        """Bring a job to its end; success leaves an artifact and a model."""
        if state is State.SUCCEEDED:
            model = self._publish(self._jobs[job_id])
            self._jobs[job_id] = replace(self._jobs[job_id], model_id=model.id)
            await self.emit(job_id, "model", model_id=model.id, name=model.name)
        code = "" if state is State.SUCCEEDED else f"test_{state}"
        await self.emit(job_id, "state", state=str(state), reason_code=code, reason=reason)

    async def run(self, job_id: str) -> None:
        """Run a job through a plausible life."""
        await self.emit(job_id, "state", state="preparing")
        await self.emit(job_id, "state", state="running")
        await self.write_log(job_id, b"training\n")
        await self.emit(job_id, "progress", fraction=0.5, eta_s=1.0, message="trial 1 of 2")
        await self.emit(job_id, "metric", name="accuracy", value=0.75, step=1)
        await self.finish(job_id)

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        if name in self.raises:
            raise self.raises[name]

    def _id(self, prefix: str) -> str:
        return f"{prefix}_{next(self._ids):06d}"

    def _note(
        self, actor: str, acts: Iterable[Act], *, empty: str = "", token_id: str = ""
    ) -> None:
        """Put lines into the audit log; ``empty`` stands for an object that is not named."""
        for act in acts:
            seq = len(self._audit) + 1
            prev = self._audit[-1].hash if self._audit else ""
            thing = act.object or empty
            digest = hashlib.sha256(f"{prev}{seq}{actor}{act.act}{thing}".encode()).hexdigest()
            self._audit.append(
                AuditEntry(
                    seq=seq,
                    at=fake_data.now(),
                    who=actor,
                    act=act.act,
                    object=thing,
                    note=act.note,
                    token_id=token_id,
                    request_id="",
                    peer="",
                    prev=prev,
                    hash=digest,
                )
            )

    def _owns(self, who: Principal, model: ModelView) -> bool:
        return self._jobs[model.job_id].owner == who.id

    def _shows(self, who: Principal, job_id: str | None, event: JobEvent) -> bool:
        return job_id in (None, event.job_id) and self._jobs[event.job_id].owner == who.id

    def _publish(self, job: JobView) -> ModelView:
        path = self._folder / f"{job.id}.onnx"
        path.write_bytes(ONNX_BYTES)
        artifact = fake_data.new_artifact(self._id("art"), job, ONNX_BYTES)
        dataset = self._datasets.get(job.dataset_id or "")
        name = fake_data.model_name(job, dataset)
        version = 1 + sum(model.name == name for model in self._models.values())
        model = fake_data.new_model(self._id("mdl"), version, job, artifact, dataset)
        self._artifacts[artifact.id] = ArtifactFile(artifact, path)
        self._models[model.id] = model
        return model
