"""Decides which queued step starts, and says of every other one why not yet.

Order is priority, then age. The first step of a backend that does not fit holds its place: nothing
behind it overtakes, so a large job is never starved by small ones. One that could not fit even an
idle backend holds nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from trainbox.clock import now
from trainbox.engine.draining import SENTENCE, Drain
from trainbox.engine.health import Pulse
from trainbox.engine.supervisor import Supervisor
from trainbox.store import Store
from trainbox.store.records import StepRecord
from trainbox_sdk.backends import Capacity, SandboxBackend
from trainbox_sdk.errors import TrainboxError, Unavailable
from trainbox_sdk.jobs import Resources, State

log = logging.getLogger(__name__)

GIB = 1024**3
TICK_S = 5.0
"""Seconds between looks when nothing wakes the loop: capacity and health change unasked."""
COALESCE_S = 0.02
"""A look that takes longer than this many seconds, or sees no end of the queue, makes the next one
wait."""
LONGEST_REST_S = 1.0
"""But no free slot waits longer than this many seconds for the next look."""
EXPLAINED = 100
"""How many waiting steps of a backend have their reason written; the rest only waits."""


@dataclass(frozen=True)
class Wait:
    """Why a step does not start now."""

    step: StepRecord
    code: str
    sentence: str
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Decision:
    """One look at the queue."""

    start: tuple[StepRecord, ...]
    wait: tuple[Wait, ...]


def decide(
    queued: Sequence[StepRecord],
    active: Sequence[StepRecord],
    capacities: Mapping[str, Capacity | str],
) -> Decision:
    """Return which steps start now. Pure.

    Args:
        queued: steps whose predecessors are done.
        active: steps that hold resources.
        capacities: by backend, or a sentence saying why it cannot be used now.
    """
    free = {name: _free(name, seen, active) for name, seen in capacities.items()}
    first: dict[str, StepRecord] = {}
    line: Counter[str] = Counter()
    start: list[StepRecord] = []
    wait: list[Wait] = []
    for step in sorted(queued, key=lambda s: (-s.priority, s.queued_at, s.id)):
        room = free.get(step.backend, f"backend {step.backend!r} is not loaded")
        whole = capacities.get(step.backend)
        if isinstance(room, str) or isinstance(whole, str) or whole is None:
            wait.append(Wait(step, "backend_unavailable", str(room)))
        elif not (whole.queues or _fits(step.resources, whole)):
            wait.append(Wait(step, "never_fits", _excess(step, whole)))
        elif step.backend in first:
            line[step.backend] += 1
            wait.append(_behind(step, first[step.backend], line[step.backend]))
        elif room.queues or _fits(step.resources, room):
            start.append(step)
            free[step.backend] = _minus(room, step.resources)
        else:
            first[step.backend], line[step.backend] = step, 1
            short = _short(step.resources, room)
            wait.append(Wait(step, "no_capacity", _words(short), {"position": 1, "short": short}))
    return Decision(tuple(start), tuple(wait))


class Scheduler:
    """Looks at the queue whenever something may have changed."""

    def __init__(
        self,
        store: Store,
        backends: Mapping[str, SandboxBackend],
        supervisor: Supervisor,
        pulse: Pulse,
        drain: Drain | None = None,
        *,
        shortage: Callable[[], str] = str,
    ) -> None:
        self._shortage = shortage
        self._drain = drain or Drain()
        self._store = store
        self._backends = backends
        self._pulse = pulse
        self._supervisor = supervisor
        self._wake = asyncio.Event()
        self._told: dict[str, str] = {}
        self._long = False

    def wake(self) -> None:
        """Ask for a look soon."""
        self._wake.set()

    async def run(self) -> None:
        """Look, act, wait; until cancelled."""
        while True:
            self._wake.clear()
            took_s = await self._timed_look()
            try:
                # Not wait_for: before Python 3.12 it loses a cancellation that meets a wake-up.
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
            # A long queue makes a look dear: looking then takes a twentieth of the time.
            dear = took_s > COALESCE_S or self._long
            await asyncio.sleep(min(20 * took_s, LONGEST_REST_S) if dear else 0)

    async def _timed_look(self) -> float:
        began = time.monotonic()
        try:
            await self.look()
        except Unavailable as error:
            log.warning("scheduler waits", extra={"why": error.message})
        return time.monotonic() - began

    async def look(self) -> None:
        """Start what fits now and explain the rest."""
        active, queued = await self._store.jobs.active_and_queued(limit=EXPLAINED)
        self._long = len(queued) == EXPLAINED
        if not queued:
            return
        queued = await self._of_each_backend(queued)
        if self._drain.draining:
            await self._explain([Wait(step, "draining", SENTENCE) for step in queued])
            return
        shortage = self._shortage()
        if shortage:
            await self._explain([Wait(step, "no_space", shortage) for step in queued])
            return
        names = {step.backend for step in queued}
        capacities = {name: await self._capacity(name) for name in names if name in self._backends}
        decision = decide(queued, active, capacities)
        for step in decision.start:
            await self._start(step)
        await self._explain(decision.wait)

    async def _of_each_backend(self, first: Sequence[StepRecord]) -> Sequence[StepRecord]:
        """Return the first waiting steps; of each backend, where one's queue would hide others."""
        if len(first) < EXPLAINED:
            return first
        found = {step.id: step for step in first}
        for name in self._backends:
            of_one = await self._store.jobs.queued_steps(limit=EXPLAINED, backend=name)
            found |= {step.id: step for step in of_one}
        return tuple(found.values())

    async def _start(self, step: StepRecord) -> None:
        # The intent is on disk before any sandbox exists: a crash in between is found and resumed.
        deadline = now() + timedelta(seconds=step.resources.timeout_s)
        begun = await self._store.jobs.begin_attempt(step.id, deadline_at=deadline)
        if begun is not None:
            self._supervisor.spawn(begun)

    async def _explain(self, waits: Sequence[Wait]) -> None:
        """Write reasons that are news, in one commit."""
        # What is free changes with every start and end, so a shortage is news when its words are.
        # The others are when their code is: an engine's error may read differently every time.
        news = [
            wait
            for wait in waits
            if wait.code != wait.step.reason_code
            or (wait.code == "no_capacity" and self._told.get(wait.step.id) != wait.sentence)
        ]
        self._told = {w.step.id: w.sentence for w in waits if w.code == "no_capacity"}
        explain = self._store.jobs.explain_wait
        await asyncio.gather(*(explain(w.step.id, w.code, w.sentence, w.facts) for w in news))

    async def _capacity(self, name: str) -> Capacity | str:
        health = await self._pulse.recent_health(name)
        if not health.ok:
            return f"backend {name} is not usable: {health.detail}"
        try:
            return await self._pulse.capacity(name)
        except TrainboxError as error:
            return error.message
        except Exception as error:
            # A plugin's fault costs its own jobs a wait, not everyone the daemon.
            log.exception("backend failed", extra={"backend": name})
            return f"backend {name} failed: {error!r}"


def _free(name: str, seen: Capacity | str, active: Sequence[StepRecord]) -> Capacity | str:
    if isinstance(seen, str):
        return seen
    for step in active:
        if step.backend == name and step.state is not State.QUEUED:
            seen = _minus(seen, step.resources)
    return seen


def _minus(room: Capacity, used: Resources) -> Capacity:
    return replace(
        room,
        cpus=room.cpus - used.cpus,
        memory_bytes=room.memory_bytes - used.memory_bytes,
        gpus=room.gpus - used.gpus,
    )


def _fits(wanted: Resources, room: Capacity) -> bool:
    return (
        wanted.cpus <= room.cpus + 1e-9
        and wanted.memory_bytes <= room.memory_bytes
        and wanted.gpus <= room.gpus
    )


def _behind(step: StepRecord, first: StepRecord, position: int) -> Wait:
    # Names the head of the line and not the place in it, which changes with every start.
    sentence = (
        f"waits for jobs that came first or are more urgent, the next of which is {first.job_id}"
    )
    return Wait(step, "behind", sentence, {"position": position, "next": first.job_id})


def _excess(step: StepRecord, whole: Capacity) -> str:
    return (
        f"{_words(_short(step.resources, whole))}, more than backend {step.backend} has in all; "
        "cancel it and ask for less"
    )


def _short(wanted: Resources, room: Capacity) -> dict[str, dict[str, float]]:
    """Return what is asked and what is free of each resource that does not suffice."""
    pairs: Mapping[str, tuple[float, float]] = {
        "cpus": (wanted.cpus, room.cpus + 1e-9),
        "memory_bytes": (wanted.memory_bytes, room.memory_bytes),
        "gpus": (wanted.gpus, room.gpus),
    }
    return {
        name: {"wanted": asked, "free": max(round(free, 6), 0)}
        for name, (asked, free) in pairs.items()
        if asked > free
    }


def _words(short: Mapping[str, Mapping[str, float]]) -> str:
    said = []
    for name, one in short.items():
        if name == "memory_bytes":
            asked, free = one["wanted"] / GIB, one["free"] / GIB
            said.append(f"{asked:.2f} GiB of memory (free: {free:.2f})")
        else:
            said.append(f"{one['wanted']:g} {name.upper()[:-1]}s (free: {one['free']:g})")
    return "waits for " + " and ".join(said)
