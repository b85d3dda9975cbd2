"""Looks at an engine's containers, where a failed look is never read as an absence."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from trainbox_plugins.docker_backend.engine_port import EnginePort, EngineRefused, Json
from trainbox_sdk.errors import BackendUnavailable

_DEATH_PAUSES_S = (0.02, 0.05, 0.1, 0.2, 0.5)


@contextmanager
def failed_look() -> Iterator[None]:
    """Read an engine's failure at a look, a kill or a removal as what it is: nothing is known yet.

    Engines answer 500 while they stop, or while a file system under them is busy.

    Raises:
        BackendUnavailable: the engine refused; ask again later.
    """
    try:
        yield
    except EngineRefused as error:
        raise BackendUnavailable(f"the Docker Engine failed: {error}") from error


async def inspected(engine: EnginePort, container: str) -> Json | None:
    """Return a container's record, or None where there is none."""
    with failed_look():
        return await engine.inspect(container)


async def seen_dead(engine: EnginePort, container: str) -> None:
    """Return once a look finds it dead or gone."""
    for attempt in range(2**31):
        found = await inspected(engine, container)
        if found is None or not found["State"]["Running"]:
            return
        await asyncio.sleep(_DEATH_PAUSES_S[min(attempt, len(_DEATH_PAUSES_S) - 1)])
