"""A scripted backend: runs nothing, says what it was told to say, survives a "restart".

The world lives in a :class:`FakeHost`; a :class:`FakeBackend` is only a view of it. Closing one and
opening another over the same host is a daemon restart as far as an engine can tell.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from trainbox_sdk.backends import (
    Capacity,
    Cause,
    Health,
    Level,
    Observation,
    Phase,
    Promise,
    SandboxRef,
    SandboxSpec,
)
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
from trainbox_sdk.errors import BackendRejected, BackendUnavailable, NotFound
from trainbox_sdk.testing.fake_host import FakeHost, FakeSandbox, FakeScript

__all__ = ["FakeBackend", "FakeHost", "FakeSandbox", "FakeScript"]

LOOK_S = 0.005

_PROMISES = (
    *("network", "memory", "cpu", "pids", "root", "user", "capabilities", "privileges"),
    *("seccomp", "disk", "log", "environment", "processes"),
)


class FakeBackend:
    """A backend over a :class:`FakeHost`. It confines nothing, and says so.

    Args:
        host: shared by all backends that stand for one engine.
    """

    def __init__(self, host: FakeHost | None = None, name: str = "fake") -> None:
        self.host = host or FakeHost()
        self.name = name
        self._instance = ""

    async def open(self, instance: str, home: Path | None = None) -> None:
        """Connect, for this daemon instance."""
        del home
        self._instance = instance

    async def close(self) -> None:
        """Let go; sandboxes go on."""

    async def probe(self) -> Health:
        """Say what the host was told to be."""
        if self.host.away:
            return Health(ok=False, detail="the fake engine is away")
        nothing = tuple(Promise(name, Level.NONE, "a fake confines nothing") for name in _PROMISES)
        return Health(ok=True, detail="a fake", version="0", promises=nothing, untrusted=True)

    async def capacity(self) -> Capacity:
        """Return the host's capacity."""
        self.host.enter("capacity", "")
        return self.host.capacity

    async def build_environment(
        self, environment: Environment, report: BuildProgress
    ) -> BuiltEnvironment:
        """Pretend to build, at once."""
        self.host.enter("build_environment", environment.name)
        built = self.host.built.get(environment.digest)
        if built is None:
            report(1.0, "built")
            built = BuiltEnvironment(
                name=environment.name,
                backend=self.name,
                reference=f"fake:{environment.digest[:12]}",
                digest=environment.digest,
                bytes=0,
                created_at=datetime.now(UTC),
                base="nothing",
            )
            self.host.built[environment.digest] = built
        return built

    async def environments(self) -> Sequence[BuiltEnvironment]:
        """List what was built."""
        return list(self.host.built.values())

    async def prepare(self, spec: SandboxSpec) -> None:
        """Create it; a second call is a no-op."""
        self.host.enter("prepare", spec.ref.name)
        if spec.ref.name in self.host.sandboxes:
            return
        self._require_possible(spec)
        self.host.sandboxes[spec.ref.name] = FakeSandbox(spec, self.host.script_for(spec))

    async def start(self, spec: SandboxSpec) -> None:
        """Start it, unless it runs or ran."""
        self.host.enter("start", spec.ref.name)
        sandbox = self.host.sandboxes.get(spec.ref.name)
        if sandbox is None:
            raise NotFound(f"sandbox {spec.ref.name} was never prepared")
        if sandbox.phase is not Phase.CREATED:
            return
        if sandbox.script.start_failure:
            del self.host.sandboxes[spec.ref.name]
            raise BackendRejected(
                f"the sandbox could not be started: {sandbox.script.start_failure}",
                code=Cause.START_FAILED.value,
            )
        sandbox.start()

    async def wait(self, spec: SandboxSpec) -> Observation:
        """Return once it is dead."""
        self.host.enter("wait", spec.ref.name)
        while True:
            if self.host.away:
                raise BackendUnavailable("the fake engine is away")
            sandbox = self.host.sandboxes.get(spec.ref.name)
            if sandbox is None:
                return Observation(spec.ref, Phase.EXITED, cause=Cause.LOST, detail="it is gone")
            sandbox.look()
            if sandbox.phase is Phase.EXITED and sandbox.script.vanishes:
                del self.host.sandboxes[spec.ref.name]
            elif sandbox.phase is not Phase.RUNNING:
                return sandbox.observation()
            await asyncio.sleep(LOOK_S)

    async def observe(self) -> Mapping[str, Observation]:
        """Return this instance's sandboxes."""
        self.host.enter("observe", "")
        seen: dict[str, Observation] = {}
        for name, sandbox in self.host.sandboxes.items():
            if sandbox.spec.ref.instance == self._instance:
                sandbox.look()
                seen[name] = sandbox.observation()
        return seen

    async def stop(self, ref: SandboxRef, grace_s: float) -> None:
        """SIGTERM, then SIGKILL; returns when it is dead."""
        self.host.enter("stop", ref.name)
        sandbox = self.host.sandboxes.get(ref.name)
        if sandbox is None or sandbox.phase is not Phase.RUNNING:
            return
        sandbox.signal(term=True)
        if sandbox.phase is Phase.RUNNING:
            await asyncio.sleep(grace_s)
            sandbox.signal(term=False)

    async def remove(self, ref: SandboxRef) -> None:
        """Kill and forget; absent is fine."""
        self.host.enter("remove", ref.name)
        sandbox = self.host.sandboxes.pop(ref.name, None)
        if sandbox is not None:
            sandbox.signal(term=False)

    def _require_possible(self, spec: SandboxSpec) -> None:
        known = self.host.environments
        if known is not None and spec.environment not in known:
            raise BackendRejected(
                f"no environment {spec.environment!r}", code="unknown_environment"
            )
        if spec.gpus > self.host.capacity.gpus:
            raise BackendRejected(f"{spec.gpus} GPUs asked, {self.host.capacity.gpus} are there")
        if any("\0" in word for word in (*spec.argv, *spec.env.values())):
            raise BackendRejected("an argument or a variable holds a null byte")
        for path in (spec.paths.spec, spec.paths.code, spec.paths.events, spec.paths.output):
            if not path.exists():
                raise BackendRejected(f"{path} cannot be given to the sandbox: it does not exist")
