"""A backend whose calls are timed; what happens inside it is the backend's own affair."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from trainbox.recorder import Recorder
from trainbox_sdk.backends import (
    Capacity,
    Health,
    Observation,
    SandboxBackend,
    SandboxRef,
    SandboxSpec,
)
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
from trainbox_sdk.errors import Unavailable

T = TypeVar("T")


class TimedBackend(SandboxBackend):
    """Passes every verb on. ``wait`` is not timed: it takes as long as the job.

    Args:
        inner: the backend that does the work.
        recorder: told of each call.
    """

    def __init__(self, inner: SandboxBackend, recorder: Recorder) -> None:
        self.name = inner.name
        self.inner = inner
        self._recorder = recorder

    async def open(self, instance: str, home: Path | None = None) -> None:  # noqa: D102 - as there
        await self.inner.open(instance, home)

    async def close(self) -> None:  # noqa: D102 - see SandboxBackend
        await self.inner.close()

    async def probe(self) -> Health:  # noqa: D102 - see SandboxBackend
        return await self._timed("probe", self.inner.probe())

    async def capacity(self) -> Capacity:  # noqa: D102 - see SandboxBackend
        return await self._timed("capacity", self.inner.capacity())

    async def build_environment(  # noqa: D102 - see SandboxBackend
        self, environment: Environment, report: BuildProgress
    ) -> BuiltEnvironment:
        return await self._timed(
            "build_environment", self.inner.build_environment(environment, report)
        )

    async def environments(self) -> Sequence[BuiltEnvironment]:  # noqa: D102 - see SandboxBackend
        return await self._timed("environments", self.inner.environments())

    async def prepare(self, spec: SandboxSpec) -> None:  # noqa: D102 - see SandboxBackend
        await self._timed("prepare", self.inner.prepare(spec))

    async def start(self, spec: SandboxSpec) -> None:  # noqa: D102 - see SandboxBackend
        await self._timed("start", self.inner.start(spec))

    async def wait(self, spec: SandboxSpec) -> Observation:  # noqa: D102 - see SandboxBackend
        return await self.inner.wait(spec)

    async def observe(self) -> Mapping[str, Observation]:  # noqa: D102 - see SandboxBackend
        return await self._timed("observe", self.inner.observe())

    async def stop(self, ref: SandboxRef, grace_s: float) -> None:  # noqa: D102 - see SandboxBackend
        await self._timed("stop", self.inner.stop(ref, grace_s))

    async def remove(self, ref: SandboxRef) -> None:  # noqa: D102 - see SandboxBackend
        await self._timed("remove", self.inner.remove(ref))

    async def _timed(self, op: str, call: Awaitable[T]) -> T:
        began, result = time.monotonic(), "error"
        try:
            value = await call
            result = "ok"
        except asyncio.CancelledError:
            result = "cancelled"
            raise
        except Unavailable:
            result = "unavailable"
            raise
        finally:
            self._recorder.backend_call(self.name, op, result, time.monotonic() - began)
        return value
