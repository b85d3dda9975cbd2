"""Which GPUs are free: those that no sandbox of any instance on this engine holds."""

from __future__ import annotations

from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_port import EnginePort
from trainbox_plugins.docker_backend.policy import LABEL
from trainbox_sdk.errors import BackendUnavailable

_HOLDING = frozenset({"created", "running", "paused"})


async def free_gpus(engine: EnginePort, config: Config, wanted: int) -> tuple[str, ...]:
    """Choose devices; the caller lets nobody else choose until they are taken.

    Raises:
        BackendUnavailable: too few are free.
        EngineRefused: the engine's own.
    """
    held = {
        device
        for summary in await engine.list_by_label({})
        if summary.get("State") in _HOLDING
        for device in str((summary.get("Labels") or {}).get(f"{LABEL}gpus", "")).split(",")
    }
    free = [device for device in config.gpu_devices if device not in held]
    if len(free) < wanted:
        raise BackendUnavailable(f"{wanted} GPUs asked, {len(free)} are free")
    return tuple(free[:wanted])
