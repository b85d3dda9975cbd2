"""The backend suite, part three: what a backend says that it confines, put to proof."""

# ruff: noqa: D102 - tests: the name says it, numbers are cases

from __future__ import annotations

import asyncio
from dataclasses import replace

from trainbox_sdk.backends import Cause, Level, SandboxBackend
from trainbox_sdk.testing import guest_programs as programs
from trainbox_sdk.testing.sandbox_case import LIMITS, MIB, MakeSpec, SandboxCase


class PromiseContract(SandboxCase):
    """Each promise at the level that the backend itself declares."""

    # --- what is promised

    async def test_memory_promise(self, backend: SandboxBackend, make: MakeSpec) -> None:
        level = await self.level(backend, "memory")
        spec = make(programs.EATS_MEMORY, limits=replace(LIMITS, memory_bytes=96 * MIB))
        seen = await self.run(backend, spec, programs.EATS_MEMORY)
        if level is Level.ENFORCED:
            assert (seen.exit_code, seen.cause) == (137, Cause.OUT_OF_MEMORY)
        elif level is Level.PARTIAL:
            assert seen.exit_code != 0

    async def test_pids_promise(self, backend: SandboxBackend, make: MakeSpec) -> None:
        level = await self.level(backend, "pids")
        spec = make(programs.FORKS)
        await self.run(backend, spec, programs.FORKS)
        if level is Level.ENFORCED:
            assert int((spec.paths.output / "forked").read_text()) <= spec.limits.pids

    async def test_network_promise(self, backend: SandboxBackend, make: MakeSpec) -> None:
        level = await self.level(backend, "network")
        reached = asyncio.Event()

        async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            reached.set()
            writer.close()

        server = await asyncio.start_server(greet, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        spec = make(programs.CALLS_OUT, argv=(str(port),))
        async with server:
            await self.run(backend, spec, programs.CALLS_OUT)
        if level is Level.ENFORCED:
            assert not reached.is_set()
            assert (spec.paths.output / "routes").read_text() == "0"

    async def test_root_promise(self, backend: SandboxBackend, make: MakeSpec) -> None:
        level = await self.level(backend, "root")
        spec = make(programs.WRITES_EVERYWHERE)
        seen = await self.run(backend, spec, programs.WRITES_EVERYWHERE)
        assert seen.exit_code == 0, spec.paths.log.read_text(errors="replace")
        if level is Level.ENFORCED:
            assert (spec.paths.output / "escaped").read_text() == ""

    async def test_disk_promise(self, backend: SandboxBackend, make: MakeSpec) -> None:
        level = await self.level(backend, "disk")
        limits = replace(LIMITS, output_bytes=8 * MIB, file_bytes=4 * MIB)
        spec = make(programs.FILLS_THE_DISK, limits=limits)
        seen = await self.run(backend, spec, programs.FILLS_THE_DISK)
        if level is Level.ENFORCED:
            assert (seen.exit_code, seen.cause) != (0, Cause.NONE)
        elif level is Level.PARTIAL:
            assert seen.cause is Cause.DISK_LIMIT or seen.exit_code != 0
