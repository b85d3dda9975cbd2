"""Has a second locked sandbox look at an artifact before a model row exists."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from trainbox.engine import guest_events, verdict
from trainbox.engine.builds import Builds
from trainbox.engine.outputs import Collected, OutputRefused, read_result
from trainbox.engine.patience import Notice, patiently
from trainbox.engine.requests import Requests
from trainbox.engine.staging import CodeStage
from trainbox.engine.watch import Watch
from trainbox.store.records import NewArtifact, StepRecord
from trainbox_sdk.backends import SandboxBackend, SandboxSpec
from trainbox_sdk.tasks import ArtifactCheck


class CheckShop(Protocol):
    """What a verifier needs of the workshop."""

    @property
    def checks(self) -> Mapping[str, ArtifactCheck]:
        """Registered checks by name."""

    @property
    def builds(self) -> Builds:
        """Environments."""

    @property
    def stage(self) -> CodeStage:
        """Staged code."""


class Verifier:
    """Runs the checks a step's outputs name, on the backend the step ran on."""

    def __init__(
        self,
        backend: SandboxBackend,
        shop: CheckShop,
        requests: Requests,
        cancel: asyncio.Event,
        notice: Notice,
    ) -> None:
        self._backend = backend
        self._shop = shop
        self._requests = requests
        self._cancel = cancel
        self._notice = notice

    async def verify(
        self, step: StepRecord, collected: Collected
    ) -> dict[str, Mapping[str, object]]:
        """Return what each check found, by artifact name.

        Raises:
            OutputRefused: a check did not accept its artifact.
        """
        wanted = {output.name: output.check for output in step.plan.outputs if output.check}
        found: dict[str, Mapping[str, object]] = {}
        for artifact in collected.artifacts:
            if artifact.name in wanted:
                check = self._shop.checks[wanted[artifact.name]]
                found[artifact.name] = await self._check(step, check, artifact)
        return found

    async def _check(
        self, step: StepRecord, check: ArtifactCheck, artifact: NewArtifact
    ) -> Mapping[str, object]:
        built = await patiently(
            lambda: self._shop.builds.ensure(self._backend, check.environment, _no_report),
            self._notice,
        )
        code = await self._shop.stage.stage(check.packages)
        spec = self._requests.check_spec(
            step, check, artifact, code=code, environment=built.reference
        )
        await patiently(lambda: self._start(spec), self._notice)
        ended = await Watch(self._backend, spec, self._cancel, self._notice).until_dead(
            spec.deadline_at
        )
        decided = verdict.decide(
            ended.seen,
            spec.limits,
            timed_out=ended.timed_out,
            failure=guest_events.last_failure(spec.paths.events),
        )
        facts = read_result(spec.paths.output) if decided.state is None else {}
        # Several outputs may be checked one after the other under the same reference.
        await patiently(lambda: self._backend.remove(spec.ref), self._notice)
        if not facts:
            why = decided.reason or "the check left no result"
            raise OutputRefused("artifact_refused", f"{artifact.name} was refused: {why}")
        return facts

    async def _start(self, spec: SandboxSpec) -> None:
        await self._backend.prepare(spec)
        await self._backend.start(spec)


def _no_report(fraction: float, sentence: str) -> None:
    del fraction, sentence
