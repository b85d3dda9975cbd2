"""Turns a step, or the check of its artifact, into the specification of a sandbox."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

from trainbox.blobs import BlobStore
from trainbox.clock import now
from trainbox.engine.sandboxes import Request, SandboxFiles, limits_of, ref_of, scratch_key
from trainbox.store import Store
from trainbox.store.records import NewArtifact, StepRecord
from trainbox_guest.protocol import GuestSpec
from trainbox_sdk.backends import SandboxSpec
from trainbox_sdk.errors import NotFound
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import ArtifactCheck

DATASET_NAME = "dataset.parquet"


class Requests:
    """Makes sandbox specs; the same step gives the same sandbox again after a restart."""

    def __init__(self, store: Store, blobs: BlobStore, files: SandboxFiles, grace_s: float) -> None:
        self._store = store
        self._blobs = blobs
        self._files = files
        self._grace_s = grace_s

    @property
    def instance(self) -> str:
        """Whose sandboxes these are."""
        return self._store.instance

    async def step_spec(
        self,
        step: StepRecord,
        *,
        code: Path,
        environment: str,
        deadline_at: datetime,
        sized: bool = False,
    ) -> SandboxSpec:
        """Return the sandbox of a step's current attempt.

        Args:
            step: what to run.
            code: staged packages.
            environment: what to run in.
            deadline_at: absolute wall-clock limit.
            sized: whether a new attempt may have a disk of limited size.

        Raises:
            NotFound: its dataset, or a file it was given, is gone.
        """
        dataset, facts = await self._dataset(step)
        inputs = await self._inputs(step)
        guest = GuestSpec(
            entry=step.plan.entry,
            task=step.task,
            params=dict(step.plan.params),
            job={
                "job_id": step.job_id,
                "job_name": step.job_name,
                "step": step.plan.name,
                "attempt": step.attempt,
                **facts,
            },
            cpus=step.resources.cpus,
            memory_bytes=step.resources.memory_bytes,
            inputs=sorted(inputs),
        )
        return await asyncio.to_thread(
            self._files.build,
            Request(
                ref=ref_of(self._store.instance, step),
                guest=guest,
                limits=limits_of(step.resources, self._grace_s),
                environment=environment,
                code=code,
                scratch_key=scratch_key(step),
                deadline_at=deadline_at,
                dataset=dataset,
                inputs=inputs,
                gpus=step.resources.gpus,
                trusted=step.plan.trusted,
                sized=sized,
            ),
        )

    def check_spec(
        self,
        step: StepRecord,
        role: str,
        check: ArtifactCheck,
        artifact: NewArtifact,
        *,
        code: Path,
        environment: str,
        preview: object = None,
        sized: bool = False,
    ) -> SandboxSpec:
        """Return the second sandbox, which looks at one artifact of the step.

        Args:
            step: what left the artifact.
            role: of this sandbox.
            check: what to run.
            artifact: what to look at.
            code: staged packages.
            environment: what to run in.
            preview: rows and predictions the step claims for it, for the check to try.
            sized: whether it may have a disk of limited size.
        """
        resources = Resources(
            cpus=min(1.0, step.resources.cpus),
            memory_bytes=check.memory_bytes,
            timeout_s=check.timeout_s,
        )
        guest = GuestSpec(
            entry=check.entry,
            task=step.task,
            params={"artifact": artifact.name, "digest": artifact.digest, "preview": preview},
            job={"job_id": step.job_id, "step": step.plan.name, "attempt": step.attempt},
            cpus=resources.cpus,
            memory_bytes=resources.memory_bytes,
        )
        return self._files.build(
            Request(
                ref=ref_of(self._store.instance, step, role),
                guest=guest,
                limits=limits_of(resources, self._grace_s),
                environment=environment,
                code=code,
                scratch_key=scratch_key(step, role),
                deadline_at=now() + timedelta(seconds=check.timeout_s),
                # Of a file in a tree the last part: what it is called inside is one name.
                dataset=(self._blobs.path(artifact.digest), PurePosixPath(artifact.name).name),
                sized=sized,
            )
        )

    async def _dataset(self, step: StepRecord) -> tuple[tuple[Path, str] | None, dict[str, object]]:
        if step.dataset_id is None:
            return None, {}
        dataset = await self._store.datasets.get(step.dataset_id)
        if dataset is None:
            raise NotFound(f"dataset {step.dataset_id} of this job is gone")
        if dataset.purged_at is not None:
            raise NotFound(
                f"the bytes of dataset {dataset.id} ({dataset.name}) were purged",
                code="dataset_purged",
                hint="upload the data again and submit a new job",
            )
        facts: dict[str, object] = {
            "dataset_id": dataset.id,
            "dataset_name": dataset.name,
            "dataset_digest": dataset.digest,
            "columns": [asdict(column) for column in dataset.columns],
        }
        return (self._blobs.path(dataset.digest), DATASET_NAME), facts

    async def _inputs(self, step: StepRecord) -> dict[str, Path]:
        """Return the files beside the dataset: what was uploaded, and what earlier steps left."""
        given = {file.name: self._blobs.path(file.digest) for file in step.plan.files}
        if not step.plan.after:
            return given
        left = {
            f"{artifact.step}.{artifact.name}": self._blobs.path(artifact.digest)
            for artifact in await self._store.jobs.artifacts(step.job_id)
            # Files of a tree come as the one tar that stands for all of them.
            if artifact.step in step.plan.after and "/" not in artifact.name
        }
        return {**left, **given}
