"""What every part of the backend suite shares: host paths, specs, fixtures, shorthand."""

# ruff: noqa: ASYNC240 - the files of a test are small

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainbox_sdk.backends import (
    Level,
    Limits,
    Observation,
    Paths,
    Phase,
    SandboxBackend,
    SandboxRef,
    SandboxSpec,
)
from trainbox_sdk.testing.guest_programs import Program

PATIENCE_S = 60.0
"""How long a test waits for what must happen; a backend that needs it is broken."""

MIB = 1024**2
LIMITS = Limits(
    cpus=1.0,
    memory_bytes=256 * MIB,
    pids=64,
    file_bytes=64 * MIB,
    output_bytes=64 * MIB,
    tmp_bytes=16 * MIB,
    log_bytes=1 * MIB,
    wall_s=60.0,
    grace_s=1.0,
)


class SandboxFiles:
    """Makes the host paths of sandboxes, as the engine would.

    Args:
        root: a directory that the sandboxes' user may enter.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def paths(self, name: str, *, dataset: bytes | None = None, suffix: str = ".parquet") -> Paths:
        """Make the directories and empty files of one sandbox."""
        folder = self._root / name
        for part in ("code", "output", "scratch", "state"):
            (folder / part).mkdir(parents=True)
        for path in (folder, self._root):
            path.chmod(0o755)
        spec, events = folder / "spec.json", folder / "events.jsonl"
        spec.write_text("{}")
        events.touch()
        data = None
        if dataset is not None:
            data = folder / f"data{suffix}"
            data.write_bytes(dataset)
        return Paths(
            spec=spec,
            dataset=data,
            code=folder / "code",
            output=folder / "output",
            scratch=folder / "scratch",
            events=events,
            log=folder / "output.log",
            state=folder / "state",
        )


class MakeSpec:
    """Makes specs whose paths exist.

    Args:
        files: makes the paths.
        environment: what they run in.
        instance: whose they are.
    """

    def __init__(self, files: SandboxFiles, environment: str, instance: str) -> None:
        self._files = files
        self._environment = environment
        self._instance = instance

    def __call__(
        self,
        program: Program,
        *,
        argv: tuple[str, ...] = (),
        env: Mapping[str, str] | None = None,
        limits: Limits = LIMITS,
        dataset: bytes | None = None,
        suffix: str = ".parquet",
    ) -> SandboxSpec:
        """Return the spec of one new sandbox that runs a program."""
        attempt = f"a{uuid.uuid4().hex}"
        return SandboxSpec(
            ref=SandboxRef(self._instance, "job-of-a-test", attempt),
            environment=self._environment,
            argv=("-c", program.code, *argv),
            paths=self._files.paths(attempt, dataset=dataset, suffix=suffix),
            limits=limits,
            deadline_at=datetime.now(UTC) + timedelta(hours=1),
            env=env or {},
        )


class SandboxCase:
    """Fixtures and shorthand; a subclass says how to make a backend and what to start."""

    unknown_environment = "sha256:" + "0" * 64
    """A well-formed reference of an environment that does not exist."""

    scripted = False
    """Whether programs are scripts of a fake, so that their inner findings do not exist."""

    # --- what an author gives

    def make_backend(self) -> SandboxBackend:
        """Return a new, unopened backend over the same engine: a restarted daemon's."""
        raise NotImplementedError

    @pytest.fixture
    def environment(self) -> str:
        """Return a reference with a Python of at least version 3.9."""
        raise NotImplementedError

    async def script(self, spec: SandboxSpec, program: Program) -> None:
        """Teach a scripted fake what this sandbox does; a real backend runs the program."""

    # --- what the suite brings

    @pytest.fixture
    def instance(self) -> str:
        """Return an instance id that no other test has."""
        return f"test-{uuid.uuid4().hex[:12]}"

    @pytest.fixture
    async def backend(self, instance: str) -> AsyncIterator[SandboxBackend]:
        """Yield an opened backend; whatever of this instance is left gets removed."""
        backend = self.make_backend()
        await backend.open(instance)
        yield backend
        for seen in (await backend.observe()).values():
            await backend.remove(seen.ref)
        await backend.close()

    @pytest.fixture
    def files(self, tmp_path: Path) -> SandboxFiles:
        """Make host paths under a directory that any user may enter."""
        for path in (tmp_path, *tmp_path.parents[:2]):
            path.chmod(path.stat().st_mode | 0o011)
        return SandboxFiles(tmp_path)

    @pytest.fixture
    def make(self, files: SandboxFiles, environment: str, instance: str) -> MakeSpec:
        """Return what makes a spec from a program."""
        return MakeSpec(files, environment, instance)

    # --- shorthand

    async def run(
        self, backend: SandboxBackend, spec: SandboxSpec, program: Program
    ) -> Observation:
        """Run a program to its end."""
        await self.script(spec, program)
        await backend.prepare(spec)
        await backend.start(spec)
        return await self.wait(backend, spec)

    async def begin(self, backend: SandboxBackend, spec: SandboxSpec, program: Program) -> None:
        """Run a program until it says through its events that it is ready."""
        await self.script(spec, program)
        await backend.prepare(spec)
        await backend.start(spec)
        async with asyncio.timeout(PATIENCE_S):
            while b"ready" not in spec.paths.events.read_bytes():
                await asyncio.sleep(0.01)

    async def wait(self, backend: SandboxBackend, spec: SandboxSpec) -> Observation:
        """Wait for the end, but not for ever."""
        async with asyncio.timeout(PATIENCE_S):
            return await backend.wait(spec)

    async def stop(self, backend: SandboxBackend, ref: SandboxRef, grace_s: float) -> None:
        """Stop, but do not wait for ever."""
        async with asyncio.timeout(PATIENCE_S):
            await backend.stop(ref, grace_s)

    async def fresh(self, instance: str) -> SandboxBackend:
        """Return an opened backend that knows nothing."""
        backend = self.make_backend()
        await backend.open(instance)
        return backend

    async def phase_becomes(self, backend: SandboxBackend, spec: SandboxSpec, phase: Phase) -> None:
        """Look until a sandbox is in a phase."""
        async with asyncio.timeout(PATIENCE_S):
            while (await backend.observe())[spec.ref.name].phase is not phase:
                await asyncio.sleep(0.05)

    async def nothing_writes(self, path: Path) -> None:
        """Assert that a file has stopped to grow."""
        size = path.stat().st_size if path.exists() else 0
        await asyncio.sleep(0.3)
        assert (path.stat().st_size if path.exists() else 0) == size

    async def level(self, backend: SandboxBackend, promise: str) -> Level:
        """Return how far a backend says that it keeps a promise."""
        for item in (await backend.probe()).promises:
            if item.name == promise:
                return item.level
        return Level.NONE
