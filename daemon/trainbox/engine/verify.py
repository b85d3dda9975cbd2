"""Has a second locked sandbox look at an artifact before a model row exists."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from trainbox.engine import guest_events, verdict
from trainbox.engine.builds import Builds
from trainbox.engine.outputs import Collected, OutputRefused, read_result
from trainbox.engine.patience import Notice, patiently
from trainbox.engine.requests import Requests
from trainbox.engine.sandboxes import SandboxFiles, checked_outputs, ref_of
from trainbox.engine.staging import CodeStage
from trainbox.engine.verdict import StepEnds, Verdict
from trainbox.engine.watch import Ended, Watch
from trainbox.engine.writable import full
from trainbox.store.records import NewArtifact, StepRecord
from trainbox_sdk.backends import Cause, SandboxBackend, SandboxSpec
from trainbox_sdk.errors import PluginError
from trainbox_sdk.jobs import State
from trainbox_sdk.tasks import ArtifactCheck

RUNS = 3
"""How often a check is begun when its sandbox is lost. It only reads, so it can be run again, and
hours of training hang on it."""


MOST_CHECKED = 16
"""Models of one directory that are checked, each in a sandbox of its own."""


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

    @property
    def files(self) -> SandboxFiles:
        """The sandboxes' directories."""

    async def sized(self, backend: str) -> bool:
        """Whether sandboxes of a backend may have a disk of limited size."""


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
            StepEnds: interrupted: the check's sandbox was lost again and again.
            PluginError: the check is not registered any more.
        """
        found: dict[str, Mapping[str, object]] = {}
        for role, output in checked_outputs(step.plan).items():
            check = self._shop.checks.get(output.check or "")
            if check is None:
                raise PluginError(f"no plugin registers the check {output.check!r}")
            claim = collected.result.get("preview")
            artifacts = collected.to_check.get(output.name, ())
            if len(artifacts) > MOST_CHECKED:
                raise OutputRefused(
                    "artifact_refused",
                    f"{output.name} holds {len(artifacts)} ONNX models, at most {MOST_CHECKED} "
                    "are checked",
                )
            for artifact in artifacts:
                if len(artifacts) > 1:
                    # One sandbox each, under one name after the other: what is found under it may
                    # be another file's, or of a daemon that was killed.
                    await self._remove(step, role)
                found[artifact.name] = await self._check(step, role, check, artifact, claim)
        return found

    async def _remove(self, step: StepRecord, role: str) -> None:
        ref = ref_of(self._requests.instance, step, role)
        await patiently(lambda: self._backend.remove(ref), self._notice)
        await asyncio.to_thread(self._shop.files.discard_check, step, role)

    async def _check(
        self,
        step: StepRecord,
        role: str,
        check: ArtifactCheck,
        artifact: NewArtifact,
        preview: object,
    ) -> Mapping[str, object]:
        for _ in range(RUNS):
            spec = await self._spec(step, role, check, artifact, preview)
            decided = await self._run(spec)
            if decided.state is not State.INTERRUPTED:
                return _accepted(spec, artifact, decided)
            await self._remove(step, role)
        raise StepEnds(
            decided.reason_code, f"while it was checked, {decided.reason}", State.INTERRUPTED
        )

    async def _run(self, spec: SandboxSpec) -> Verdict:
        await patiently(lambda: self._start(spec), self._notice)
        watch = Watch(self._backend, spec, self._cancel, self._notice)
        ended = await watch.until_dead(spec.deadline_at)
        decided = verdict.decide(
            ended.seen,
            spec.limits,
            timed_out=ended.timed_out,
            engine_was_away=ended.engine_was_away,
            failure=guest_events.last_failure(spec.paths.events),
            disk_full=full(spec),
        )
        return _in_its_own_words(decided, ended, spec)

    async def _spec(
        self,
        step: StepRecord,
        role: str,
        check: ArtifactCheck,
        artifact: NewArtifact,
        preview: object,
    ) -> SandboxSpec:
        built = await patiently(
            lambda: self._shop.builds.ensure(self._backend, check.environment, _no_report),
            self._notice,
        )
        code = await self._shop.stage.stage(check.packages)
        sized = await patiently(lambda: self._shop.sized(self._backend.name), self._notice)
        spec = await asyncio.to_thread(
            self._requests.check_spec,
            step,
            role,
            check,
            artifact,
            code=code,
            environment=built.reference,
            preview=preview,
            sized=sized,
        )
        modules = self._shop.builds.modules(check.entry, check.environment)
        return replace(spec, modules=modules)

    async def _start(self, spec: SandboxSpec) -> None:
        await self._backend.prepare(spec)
        await self._backend.start(spec)


def _accepted(spec: SandboxSpec, artifact: NewArtifact, decided: Verdict) -> Mapping[str, object]:
    facts = read_result(spec.paths.output) if decided.state is None else {}
    if not facts:
        why = decided.reason or "the check left no result"
        raise OutputRefused("artifact_refused", f"{artifact.name} was refused: {why}")
    return facts


def _in_its_own_words(decided: Verdict, ended: Ended, spec: SandboxSpec) -> Verdict:
    """Return the verdict without advice to ask for more: a check's limits are not the caller's."""
    if decided.state is not State.FAILED:
        return decided
    if ended.timed_out:
        reason = f"the check did not end within {spec.limits.wall_s:g} s"
    elif ended.seen.cause is Cause.OUT_OF_MEMORY:
        reason = f"the check needs more than {spec.limits.memory_bytes / verdict.GIB:.2f} GiB"
    else:
        reason = decided.reason
    return Verdict(decided.state, decided.reason_code, reason)


def _no_report(fraction: float, sentence: str) -> None:
    del fraction, sentence
