"""One step's way from ``preparing`` to its end; with ``watch``, the only caller of a backend.

A driver can start in any active state: what it did before a restart it finds done, because every
verb is idempotent on the sandbox's reference.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

from trainbox.clock import now
from trainbox.engine import finish, guest_events, verdict
from trainbox.engine.builds import BuildReport, wishes_of
from trainbox.engine.evidence import outcome_of, told_with_the_end
from trainbox.engine.outputs import collect
from trainbox.engine.patience import patiently
from trainbox.engine.requests import Requests
from trainbox.engine.sandboxes import ref_of, roles_of
from trainbox.engine.tail import EventTail
from trainbox.engine.verdict import StepEnds
from trainbox.engine.verify import Verifier
from trainbox.engine.watch import Watch
from trainbox.engine.workshop import Workshop
from trainbox.engine.writable import full
from trainbox.store.records import Outcome, StepRecord
from trainbox_sdk.backends import SandboxSpec
from trainbox_sdk.errors import BackendRejected, TrainboxError, Unavailable
from trainbox_sdk.jobs import State

log = logging.getLogger(__name__)
T = TypeVar("T")

STOP_S = 5.0
"""Seconds that a stopping daemon waits for a write or a start under way."""
UNKNOWN_ENVIRONMENT = "unknown_environment"
"""A backend's code for an environment that is not, or no longer, there."""


class _Cancelled(Exception):
    """Someone asked, and the phase at work was left."""


class _LostRace(Exception):
    """Another transition came first; the store is right and this driver has nothing left to do."""


class Driver:
    """Drives one attempt of a step; :attr:`cancel` is set when someone asks for its end.

    Args:
        workshop: what every driver works with.
        step: as the store has it.
        adopted: nobody watched the sandbox for a while: the daemon was away.
    """

    def __init__(self, workshop: Workshop, step: StepRecord, *, adopted: bool = False) -> None:
        self.step = step
        self.cancel = asyncio.Event()
        if step.cancel_requested:
            self.cancel.set()
        self._shop = workshop
        self._adopted = adopted
        self._backend = workshop.backends[step.backend]
        self._requests = Requests(workshop.store, workshop.blobs, workshop.files, workshop.grace_s)
        self._away_noted = False

    async def drive(self, earlier: Sequence[asyncio.Task[None]] = ()) -> None:
        """Take the step from where it stands to a terminal state.

        Args:
            earlier: drivers of earlier attempts, still cleaning up; waited for before anything
                of this attempt is made.
        """
        try:
            await self._phases(earlier)
        except _Cancelled:
            await self._end_cancelled()
        except _LostRace:
            log.info("step moved elsewhere", extra={"step": self.step.id})
        except StepEnds as ends:
            await self._end(ends.state, ends.code, str(ends))
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

    async def _phases(self, earlier: Sequence[asyncio.Task[None]]) -> None:
        # Every phase can be begun again, so whatever is away is waited for, wherever it shows.
        if self.step.state is State.PREPARING:
            await self._or_cancel(patiently(lambda: self._prepare(earlier), self._notice))
        if self.step.state is State.RUNNING:
            await patiently(self._watch, self._notice)
        if not self.step.state.terminal:
            await self._or_cancel(patiently(self._finish, self._notice))

    async def _prepare(self, earlier: Sequence[asyncio.Task[None]]) -> None:
        if earlier:
            await asyncio.wait(earlier)
        await self._remove_earlier()
        timeout = timedelta(seconds=self.step.resources.timeout_s)
        environment = await self._start()
        outcome = Outcome(deadline_at=now() + timeout, environment_ref=environment)
        await self._move(State.RUNNING, outcome)

    async def _start(self) -> str:
        """Start the sandbox; return what it was started in."""
        name = self.step.plan.environment
        try:
            return await self._start_in(await self._environment())
        except BackendRejected as error:
            if error.code != UNKNOWN_ENVIRONMENT:
                raise
            log.warning("built again", extra={"environment": name, "why": error.message})
        # Someone removed the image or the venv since it was built.
        self._shop.builds.forget(self._backend.name, name)
        return await self._start_in(await self._environment())

    async def _environment(self) -> str:
        plan = self.step.plan
        report = BuildReport(plan.environment, self._tell)
        wishes = wishes_of(plan, self._shop.blobs)
        builds = self._shop.builds
        return (await builds.ensure(self._backend, plan.environment, report, wishes)).reference

    async def _start_in(self, environment: str) -> str:
        plan = self.step.plan
        code = await self._shop.stage.stage(plan.packages)
        deadline_at = now() + timedelta(seconds=self.step.resources.timeout_s)
        spec = await self._requests.step_spec(
            self.step,
            code=code,
            environment=environment,
            deadline_at=deadline_at,
            sized=await self._shop.sized(self._backend.name),
        )
        spec = replace(spec, modules=self._shop.builds.modules(plan.entry, plan.environment))

        async def start() -> None:
            await self._backend.prepare(spec)
            await self._backend.start(spec)

        # Not to be left half way: a call that is cancelled may still reach the engine, after the
        # sandbox was removed.
        await self._shielded(start())
        return environment

    async def _remove_earlier(self) -> None:
        """Remove sandboxes of earlier attempts: a daemon that was killed may have left one."""
        if self.step.attempt == 1:
            return
        job = await self._shop.store.jobs.get(self.step.job_id)
        assert job is not None
        step = next(step for step in job.steps if step.id == self.step.id)
        for attempt in step.attempts:
            if attempt.id != self.step.attempt_id:
                await self._remove(attempt.id)

    async def _watch(self) -> None:
        self.step = await self._fresh()
        spec = await self._running_spec()
        tail = EventTail(self.step, spec.paths.events, self._commit, self._tell)
        async with tail.following():
            watch = Watch(self._backend, spec, self.cancel, self._notice)
            ended = await watch.until_dead(self.step.deadline_at or spec.deadline_at)
        decided = verdict.decide(
            ended.seen,
            spec.limits,
            cancelled=self.cancel.is_set(),
            timed_out=ended.timed_out,
            engine_was_away=ended.engine_was_away or self._adopted,
            failure=guest_events.last_failure(spec.paths.events),
            disk_full=full(spec),
        )
        outcome = outcome_of(decided, ended.seen, self._shop.files.writable.sentence(spec))
        await self._move(decided.state or State.COLLECTING, outcome)

    async def _finish(self) -> None:
        """Collect, check, and write the success; safe to repeat from the start."""
        spec = await self._running_spec()
        outputs = self.step.plan.outputs
        collected = await collect(spec.paths.output, outputs, self._shop.blobs)
        finish.require_parity(self.step.plan, collected)
        facts: dict[str, Mapping[str, object]] = {}
        if any(output.check for output in outputs):
            if self.step.state is State.COLLECTING:
                await self._move(State.VERIFYING)
            verifier = Verifier(
                self._backend, self._shop, self._requests, self.cancel, self._notice
            )
            facts = await verifier.verify(self.step, collected)
        made_in = self._shop.builds.environment(self.step.plan.environment)
        installed = await self._installed()
        model = await finish.new_model(
            self._shop.store, self.step, collected, facts, made_in, installed=installed
        )
        done = await self._write(
            lambda: self._shop.store.jobs.succeed(
                self.step, self.step.state, artifacts=collected.artifacts, model=model
            )
        )
        for artifact in collected.artifacts:
            self._shop.blobs.settle(artifact.digest)
        if done is None:
            raise _LostRace
        self.step = done.step

    async def _installed(self) -> Sequence[str]:
        """Return what a user's requirements came to; the lock says it where there are none."""
        if not self.step.plan.requirements:
            return ()
        built = await self._backend.environments()
        of_step = (each for each in built if each.reference == self.step.environment_ref)
        return next((each.packages for each in of_step), ())

    # -- small things -------------------------------------------------------------------------

    async def _fresh(self) -> StepRecord:
        fresh = await self._shop.store.jobs.step(self.step.id)
        if fresh is None or fresh.attempt_id != self.step.attempt_id:
            raise _LostRace
        return fresh

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
        told = outcome or Outcome()
        if after.terminal:
            told = replace(told, data={**told.data, **await self._evidence(after, told)})
        moved = await self._write(
            lambda: self._shop.store.jobs.transition(self.step, self.step.state, after, told)
        )
        if moved is None:
            raise _LostRace
        self.step = moved

    async def _evidence(self, after: State, outcome: Outcome) -> Mapping[str, Any]:
        log = self._shop.files.log(self.step.attempt_id or "")
        return await asyncio.to_thread(told_with_the_end, after, outcome, log)

    async def _commit(self, step: StepRecord, read: guest_events.Read) -> None:
        await self._write(
            lambda: self._shop.store.jobs.append_guest_events(step, read.events, read.offset)
        )

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        return await self._shielded(patiently(write, self._notice))

    async def _shielded(self, work: Awaitable[T]) -> T:
        """Finish work even when the daemon stops: losing it is worse than stopping late."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            # Someone who asked for the end gets it after this; a stopping daemon cannot wait long.
            await asyncio.wait({task}, timeout=None if self.cancel.is_set() else STOP_S)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def _end(self, state: State, code: str, reason: str) -> None:
        """Write a terminal state from whatever state the step is in now."""
        outcome = Outcome(reason_code=code, reason=reason)
        try:
            await self._move(state, outcome)
        except _LostRace:
            # A move that was under way when its phase was left may have come first.
            self.step = await patiently(self._fresh, self._notice)
            if not self.step.state.terminal:
                await self._move(state, outcome)

    async def _end_cancelled(self) -> None:
        """Remove what there is and say so; an engine that is away does not keep anyone waiting."""
        with suppress(Unavailable):
            await self._remove_now(self.step.attempt_id)
        await self._end(State.CANCELLED, "cancelled", "cancelled on request")

    async def _remove(self, attempt_id: str | None = None) -> None:
        attempt = attempt_id or self.step.attempt_id
        await patiently(lambda: self._remove_now(attempt), self._notice)

    async def _remove_now(self, attempt_id: str | None) -> None:
        step = replace(self.step, attempt_id=attempt_id)
        for role in roles_of(step.plan):
            await self._backend.remove(ref_of(self._shop.store.instance, step, role))

    async def _clean_up(self) -> None:
        """Forget the dead sandbox; its log stays, and its scratch while a retry could use it."""
        await self._remove()
        keep_scratch = self.step.state not in (State.SUCCEEDED, State.CANCELLED)
        await asyncio.to_thread(self._shop.files.discard, self.step, keep_scratch=keep_scratch)

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
