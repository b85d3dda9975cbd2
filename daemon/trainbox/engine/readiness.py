"""Looks at what the daemon needs to take and run work."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from trainbox.engine.draining import SENTENCE, Drain
from trainbox.engine.health import Pulse
from trainbox.engine.heartbeat import Heartbeat
from trainbox.registry import Registry
from trainbox.store import Store
from trainbox_sdk.engine import Check, PluginInfo
from trainbox_sdk.environments import BuiltEnvironment
from trainbox_sdk.errors import TrainboxError


class ReadinessProbe:
    """Answers readiness: the store writes, a backend answers, there is room, work is taken."""

    def __init__(
        self,
        store: Store,
        registry: Registry,
        pulse: Pulse,
        state_dir: Path,
        floor: int,
        *,
        heartbeat: Heartbeat,
        drain: Drain,
    ) -> None:
        self._store = store
        self._heartbeat = heartbeat
        self._drain = drain
        self._registry = registry
        self._pulse = pulse
        self._state_dir = state_dir
        self._floor = floor

    async def checks(self) -> tuple[Check, ...]:
        """Return one line per check; the daemon is ready when all are fine."""
        return (
            await self._store_check(),
            await self._backend_check(),
            self._space_check(),
            self._accepting_check(),
        )

    async def environments(self) -> list[Mapping[str, Any]]:
        """Return each registered environment and, per backend, its build if there is one."""
        built = {name: await self._built(name) for name in self._registry.backends}
        return [
            {
                "name": environment.name,
                "python": environment.python,
                "digest": environment.digest,
                "builds": [
                    {
                        "backend": name,
                        "reference": found.reference,
                        "bytes": found.bytes,
                        "base": found.base,
                        "created_at": found.created_at,
                    }
                    for name, all_built in built.items()
                    for found in all_built
                    if found.digest == environment.digest
                ],
            }
            for environment in self._registry.environments.values()
        ]

    async def plugins(self, infos: Sequence[PluginInfo]) -> Sequence[PluginInfo]:
        """Return the lines of the plugin list with how each does now."""
        return [replace(info, health=await self._plugin_health(info)) for info in infos]

    async def _plugin_health(self, info: PluginInfo) -> str:
        if info.status != "loaded":
            return ""
        looks = {
            name: await self._pulse.health(name)
            for name in self._registry.backends
            if f"backend:{name}" in info.provides
        }
        sick = [f"{name}: {health.detail}" for name, health in looks.items() if not health.ok]
        return "; ".join([*sick, *([info.error] if info.error else [])]) or "ok"

    async def _built(self, backend: str) -> Sequence[BuiltEnvironment]:
        try:
            return await self._registry.backends[backend].environments()
        except TrainboxError:
            return ()

    async def _store_check(self) -> Check:
        if self._store.broken:
            return Check("store", ok=False, detail=self._store.broken)
        ago_s = self._heartbeat.wrote_ago_s()
        if ago_s is not None:
            # Whoever asks costs no write: anyone may ask, and as often as they like.
            return Check("store", ok=True, detail=f"wrote durably {ago_s:.1f} s ago")
        try:
            await self._heartbeat.beat()
        except TrainboxError as error:
            return Check("store", ok=False, detail=error.message)
        return Check("store", ok=True, detail="wrote durably")

    async def _backend_check(self) -> Check:
        looks = {name: await self._pulse.health(name) for name in self._registry.backends}
        detail = "; ".join(f"{name}: {health.detail}" for name, health in looks.items())
        ok = any(health.ok for health in looks.values())
        return Check("backend", ok=ok, detail=detail or "no backend is loaded")

    def _space_check(self) -> Check:
        free = shutil.disk_usage(self._state_dir).free
        return Check("space", ok=free >= self._floor, detail=f"{free} bytes free")

    def _accepting_check(self) -> Check:
        if self._drain.draining:
            return Check("accepting", ok=False, detail=SENTENCE)
        return Check("accepting", ok=True, detail="takes new work")
