"""One step's way from ``preparing`` to its end; with ``watch``, the only caller of a backend.

A driver can start in any active state: what it did before a restart it finds done, because every
verb is idempotent on the sandbox's reference.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from trainbox.blobs import BlobStore
from trainbox.clock import now
from trainbox.engine import finish, guest_events, verdict
from trainbox.engine.builds import BuildReport, Builds
from trainbox.engine.outputs import OutputRefused, collect
from trainbox.engine.patience import patiently
from trainbox.engine.requests import Requests
from trainbox.engine.sandboxes import SandboxFiles, ref_of
from trainbox.engine.staging import CodeStage
from trainbox.engine.verify import Verifier
from trainbox.engine.watch import Ended, Watch
from trainbox.store import Store
from trainbox.store.records import Outcome, StepRecord
from trainbox_sdk.backends import SandboxBackend, SandboxSpec
from trainbox_sdk.errors import TrainboxError, Unavailable
from trainbox_sdk.jobs import State
from trainbox_sdk.tasks import ArtifactCheck

log = logging.getLogger(__name__)
T = TypeVar("T")

TAIL_S = 0.2
"""Seconds between looks at a running guest's events."""


@dataclass(frozen=True)
class Workshop:
    """What every driver works with; built once in the composition root."""

    store: Store
    blobs: BlobStore
    backends: Mapping[str, SandboxBackend]
    checks: Mapping[str, ArtifactCheck]
    files: SandboxFiles
    stage: CodeStage
    builds: Builds
    grace_s: float


class _Cancelled(Exception):
    """Someone asked, and the phase at work was left."""


class _LostRace(Exception):
    """Another transition came first; the store is right and this driver has nothing left to do."""


class Driver:
    """Drives one step; :attr:`cancel` is set when someone asks for its end."""

    def __init__(self, workshop: Workshop, step: StepRecord) -> None:
        self.step = step
        self.cancel = asyncio.Event()
        if step.cancel_requested:
            self.cancel.set()
        self._shop = workshop
        self._backend = workshop.backends[step.backend]
        self._requests = Requests(workshop.store, workshop.blobs, workshop.files, workshop.grace_s)
        self._away_noted = False

    def sandbox_names(self) -> set[str]:
        """Return the names of the sandboxes this step may have."""
        instance = self._shop.store.instance
        return {ref_of(instance, self.step, role).name for role in ("step", "check")}

    async def drive(self) -> None:
        """Take the step from where it stands to a terminal state."""
        try:
            if self.step.state is State.PREPARING:
                await self._or_cancel(self._prepare())
            if self.step.state is State.RUNNING:
                await self._watch()
            if not self.step.state.terminal:
                await self._or_cancel(self._finish())
        except _Cancelled:
            await self._remove()
            await self._end(State.CANCELLED, "cancelled", "cancelled on request")
        except _LostRace:
            log.info("step moved elsewhere", extra={"step": self.step.id})
        except OutputRefused as error:
            await self._end(State.FAILED, error.code, str(error))
        except TrainboxError as error:
            await self._end(State.FAILED, error.code, _sentence(error))
        await self._clean_up()

    async def give_up(self, reason: str) -> None:
        """Fail the step after an error of the daemon itself."""
        fresh = await self._shop.store.jobs.step(self.step.id)
        if fresh is None or fresh.state.terminal or fresh.attempt_id != self.step.attempt_id:
            return
        self.step = fresh
        await self._remove()
        await self._end(State.FAILED, "internal", reason)
        await self._clean_up()

    # -- phases -------------------------------------------------------------------------------

    async def _prepare(self) -> None:
        plan = self.step.plan
        report = BuildReport(plan.environment, self._tell)
        built = await patiently(
            lambda: self._shop.builds.ensure(self._backend, plan.environment, report), self._notice
        )
        code = await self._shop.stage.stage(plan.packages)
        timeout = timedelta(seconds=self.step.resources.timeout_s)
        spec = await self._requests.step_spec(
            self.step, code=code, environment=built.reference, deadline_at=now() + timeout
        )
        await patiently(lambda: self._start(spec), self._notice)
        outcome = Outcome(deadline_at=now() + timeout, environment_ref=built.reference)
        await self._move(State.RUNNING, outcome)

    async def _start(self, spec: SandboxSpec) -> None:
        await self._backend.prepare(spec)
        await self._backend.start(spec)

    async def _watch(self) -> None:
        spec = await self._running_spec()
        tail = asyncio.create_task(self._tail(spec))
        try:
            watch = Watch(self._backend, spec, self.cancel, self._notice)
            ended = await watch.until_dead(self.step.deadline_at or spec.deadline_at)
        finally:
            tail.cancel()
            await asyncio.gather(tail, return_exceptions=True)
        await self._drain_events(spec)
        await self._judge(spec, ended)

    async def _judge(self, spec: SandboxSpec, ended: Ended) -> None:
        decided = verdict.decide(
            ended.seen,
            spec.limits,
            cancelled=self.cancel.is_set(),
            timed_out=ended.timed_out,
            engine_was_away=ended.engine_was_away,
            failure=guest_events.last_failure(spec.paths.events),
        )
        outcome = Outcome(
            reason_code=decided.reason_code,
            reason=decided.reason,
            exit_code=ended.seen.exit_code,
            peak_memory_bytes=ended.seen.peak_memory_bytes,
        )
        await self._move(decided.state or State.COLLECTING, outcome)

    async def _finish(self) -> None:
        """Collect, check, and write the success; safe to repeat from the start."""
        spec = await self._running_spec()
        outputs = self.step.plan.outputs
        collected = await patiently(
            lambda: collect(spec.paths.output, outputs, self._shop.blobs), self._notice
        )
        finish.require_parity(self.step.plan, collected)
        facts: dict[str, Mapping[str, object]] = {}
        if any(output.check for output in outputs):
            if self.step.state is State.COLLECTING:
                await self._move(State.VERIFYING)
            verifier = Verifier(
                self._backend, self._shop, self._requests, self.cancel, self._notice
            )
            facts = await verifier.verify(self.step, collected)
        model = await finish.new_model(self._shop.store, self.step, collected, facts)
        done = await self._shielded(
            self._shop.store.jobs.succeed(
                self.step,
                self.step.state,
                artifacts=collected.artifacts,
                model=model,
                outcome=Outcome(),
            )
        )
        if done is None:
            raise _LostRace
        self.step = done.step

    # -- guest events -------------------------------------------------------------------------

    async def _tail(self, spec: SandboxSpec) -> None:
        while True:
            await self._commit_events(spec)
            await asyncio.sleep(TAIL_S)

    async def _drain_events(self, spec: SandboxSpec) -> None:
        while await self._commit_events(spec):
            pass

    async def _commit_events(self, spec: SandboxSpec) -> bool:
        """Commit the next events with their offset; return whether the file had moved on."""
        step = self.step
        read = guest_events.read_events(spec.paths.events, step.events_offset)
        if read.offset == step.events_offset:
            return False
        await self._shielded(
            patiently(
                lambda: self._shop.store.jobs.append_guest_events(step, read.events, read.offset),
                self._notice,
            )
        )
        self.step = finish.with_offset(self.step, read.offset)
        return True

    # -- small things -------------------------------------------------------------------------

    async def _running_spec(self) -> SandboxSpec:
        code = await self._shop.stage.stage(self.step.plan.packages)
        return await self._requests.step_spec(
            self.step,
            code=code,
            environment=self.step.environment_ref,
            deadline_at=self.step.deadline_at or now(),
        )

    async def _or_cancel(self, work: Awaitable[T]) -> T:
        """Await work, leaving it as soon as someone asks for the end."""
        task = asyncio.ensure_future(work)
        asked = asyncio.create_task(self.cancel.wait())
        try:
            await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                return task.result()
            raise _Cancelled
        finally:
            asked.cancel()
            if not task.done():
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    async def _move(self, after: State, outcome: Outcome | None = None) -> None:
        moved = await self._shielded(
            patiently(
                lambda: self._shop.store.jobs.transition(
                    self.step, self.step.state, after, outcome or Outcome()
                ),
                self._notice,
            )
        )
        if moved is None:
            raise _LostRace
        self.step = moved

    async def _shielded(self, write: Awaitable[T]) -> T:
        """Finish a write even when the daemon stops: losing it is worse than stopping late."""
        task = asyncio.ensure_future(write)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait({task}, timeout=5.0)
            raise

    async def _end(self, state: State, code: str, reason: str) -> None:
        """Write a terminal state from whatever state the step is in now."""
        outcome = Outcome(reason_code=code, reason=reason)
        try:
            await self._move(state, outcome)
        except _LostRace:
            # A move that was under way when its phase was left may have come first.
            fresh = await self._shop.store.jobs.step(self.step.id)
            if fresh is None or fresh.attempt_id != self.step.attempt_id:
                return
            self.step = fresh
            if not fresh.state.terminal:
                await self._move(state, outcome)

    async def _remove(self) -> None:
        for role in ("step", "check"):
            ref = ref_of(self._shop.store.instance, self.step, role)
            await patiently(lambda ref=ref: self._backend.remove(ref), self._notice)  # type: ignore[misc]

    async def _clean_up(self) -> None:
        """Forget the dead sandbox; its log stays, and its scratch while a retry could use it."""
        await self._remove()
        for role in ("step", "check"):
            ref = ref_of(self._shop.store.instance, self.step, role)
            await asyncio.to_thread(self._shop.files.discard, ref)
        if self.step.state in (State.SUCCEEDED, State.CANCELLED):
            await asyncio.to_thread(self._shop.files.discard_scratch, self.step.id)

    async def _notice(self, error: Unavailable) -> None:
        log.warning("waiting", extra={"step": self.step.id, "why": error.message})
        if not self._away_noted:
            self._away_noted = True
            try:
                await self._tell("warning", f"{error.message}; will go on when it answers")
            except Unavailable:
                log.warning("the store is away too", extra={"step": self.step.id})

    async def _tell(self, kind: str, text: str) -> None:
        await self._shop.store.jobs.append_event(self.step.job_id, kind, {"text": text})


def _sentence(error: TrainboxError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
