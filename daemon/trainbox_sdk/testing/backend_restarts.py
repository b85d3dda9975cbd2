"""The backend suite, part two: a daemon that comes back, and ending what runs."""

# ruff: noqa: D102, PLR2004 - tests: the name says it, numbers are cases

from __future__ import annotations

import asyncio
import uuid
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from trainbox_sdk.backends import Cause, Phase, SandboxBackend
from trainbox_sdk.testing import guest_programs as programs
from trainbox_sdk.testing.sandbox_case import LIMITS, PATIENCE_S, MakeSpec, SandboxCase


class RestartContract(SandboxCase):
    """Adoption, stopping, removing, looking."""

    # --- a daemon that comes back

    async def test_running_sandbox_is_adopted_with_its_log_whole(
        self, backend: SandboxBackend, make: MakeSpec, instance: str
    ) -> None:
        spec = make(programs.WAITS_THEN_PRINTS)
        await self.begin(backend, spec, programs.WAITS_THEN_PRINTS)
        await backend.close()
        fresh = await self.fresh(instance)
        seen = (await fresh.observe())[spec.ref.name]
        assert (seen.phase, seen.ref) == (Phase.RUNNING, spec.ref)
        waiter = asyncio.create_task(self.wait(fresh, spec))
        await asyncio.sleep(0.1)
        (spec.paths.scratch / "go").touch()
        assert (await waiter).exit_code == 3
        assert spec.paths.log.read_bytes() == b"ready\n" + programs.numbered(1000)
        await fresh.close()

    async def test_sandbox_that_ended_while_nobody_looked_is_taken_over_whole(
        self, backend: SandboxBackend, make: MakeSpec, instance: str
    ) -> None:
        spec = make(programs.WAITS_THEN_PRINTS)
        await self.begin(backend, spec, programs.WAITS_THEN_PRINTS)
        await backend.close()
        (spec.paths.scratch / "go").touch()
        looker = await self.fresh(instance)
        await self.phase_becomes(looker, spec, Phase.EXITED)
        await looker.close()
        fresh = await self.fresh(instance)
        assert (await self.wait(fresh, spec)).exit_code == 3
        assert spec.paths.log.read_bytes() == b"ready\n" + programs.numbered(1000)
        await fresh.close()

    async def test_closing_leaves_sandboxes_alone(
        self, backend: SandboxBackend, make: MakeSpec, instance: str
    ) -> None:
        spec = make(programs.WAITS_THEN_PRINTS)
        await self.begin(backend, spec, programs.WAITS_THEN_PRINTS)
        await backend.close()
        fresh = await self.fresh(instance)
        await asyncio.sleep(0.2)
        assert (await fresh.observe())[spec.ref.name].phase is Phase.RUNNING
        await fresh.stop(spec.ref, 0.1)
        await fresh.close()

    async def test_cancelled_wait_leaves_the_sandbox_alone(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.WAITS_THEN_PRINTS)
        await self.begin(backend, spec, programs.WAITS_THEN_PRINTS)
        waiter = asyncio.create_task(backend.wait(spec))
        await asyncio.sleep(0.05)
        waiter.cancel()
        await asyncio.wait({waiter})
        assert waiter.cancelled()
        assert (await backend.observe())[spec.ref.name].phase is Phase.RUNNING
        (spec.paths.scratch / "go").touch()
        assert (await self.wait(backend, spec)).exit_code == 3
        assert spec.paths.log.read_bytes() == b"ready\n" + programs.numbered(1000)

    async def test_wait_for_a_sandbox_that_is_not_there_says_lost(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        seen = await self.wait(backend, make(programs.ORDINARY))
        assert (seen.phase, seen.exit_code, seen.cause) == (Phase.EXITED, None, Cause.LOST)

    async def test_wait_again_gives_the_same_answer(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.exits_with(5))
        first = await self.run(backend, spec, programs.exits_with(5))
        again = await self.wait(backend, spec)
        assert (again.exit_code, again.cause) == (first.exit_code, first.cause)

    # --- ending it

    async def test_stop_lets_a_guest_that_obeys_say_goodbye(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.OBEYS_TERM)
        await self.begin(backend, spec, programs.OBEYS_TERM)
        await self.stop(backend, spec.ref, PATIENCE_S)
        assert (await self.wait(backend, spec)).exit_code == 7

    async def test_stop_kills_a_guest_that_ignores_term(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.IGNORES_TERM)
        await self.begin(backend, spec, programs.IGNORES_TERM)
        await self.stop(backend, spec.ref, 0.3)
        seen = await self.wait(backend, spec)
        assert (seen.phase, seen.exit_code, seen.cause) == (Phase.EXITED, 137, Cause.NONE)

    async def test_stop_leaves_no_descendant_alive(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.DOUBLE_FORKS)
        await self.begin(backend, spec, programs.DOUBLE_FORKS)
        await self.stop(backend, spec.ref, 0.3)
        await self.wait(backend, spec)
        await self.nothing_writes(spec.paths.scratch / "heartbeat")

    async def test_stop_by_a_fresh_backend(
        self, backend: SandboxBackend, make: MakeSpec, instance: str
    ) -> None:
        spec = make(programs.IGNORES_TERM)
        await self.begin(backend, spec, programs.IGNORES_TERM)
        await backend.close()
        fresh = await self.fresh(instance)
        await self.stop(fresh, spec.ref, 0.1)
        assert (await self.wait(fresh, spec)).exit_code == 137
        await fresh.close()

    async def test_stop_of_what_is_dead_or_absent_is_fine(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.ORDINARY)
        await self.stop(backend, spec.ref, 0.1)
        await self.run(backend, spec, programs.ORDINARY)
        await self.stop(backend, spec.ref, 0.1)
        assert (await self.wait(backend, spec)).exit_code == 0

    async def test_wall_clock_is_left_to_the_engine(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.SLEEPS_BRIEFLY, limits=replace(LIMITS, wall_s=0.01))
        past = replace(spec, deadline_at=datetime.now(UTC) - timedelta(hours=1))
        assert (await self.run(backend, past, programs.SLEEPS_BRIEFLY)).exit_code == 0

    async def test_removed_sandbox_is_forgotten(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.ORDINARY)
        await self.run(backend, spec, programs.ORDINARY)
        assert spec.ref.name in await backend.observe()
        await backend.remove(spec.ref)
        assert spec.ref.name not in await backend.observe()
        await backend.remove(spec.ref)

    async def test_remove_of_absent_is_fine(self, backend: SandboxBackend, make: MakeSpec) -> None:
        await backend.remove(make(programs.ORDINARY).ref)

    async def test_remove_kills_what_lives(self, backend: SandboxBackend, make: MakeSpec) -> None:
        spec = make(programs.DOUBLE_FORKS)
        await self.begin(backend, spec, programs.DOUBLE_FORKS)
        await backend.remove(spec.ref)
        assert spec.ref.name not in await backend.observe()
        await self.nothing_writes(spec.paths.scratch / "heartbeat")

    async def test_removed_while_waited_for_says_lost(
        self, backend: SandboxBackend, make: MakeSpec, instance: str
    ) -> None:
        spec = make(programs.IGNORES_TERM)
        await self.begin(backend, spec, programs.IGNORES_TERM)
        waiter = asyncio.create_task(self.wait(backend, spec))
        await asyncio.sleep(0.05)
        other = await self.fresh(instance)
        await other.remove(spec.ref)
        await other.close()
        assert (await waiter).cause is Cause.LOST

    # --- looking

    async def test_observe_sees_only_its_own_instance(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.ORDINARY)
        await self.script(spec, programs.ORDINARY)
        await backend.prepare(spec)
        assert (await backend.observe())[spec.ref.name].phase is Phase.CREATED
        stranger = await self.fresh(f"test-{uuid.uuid4().hex[:12]}")
        assert spec.ref.name not in await stranger.observe()
        await stranger.close()

    async def test_observe_of_an_ended_sandbox_has_its_exit_code(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.exits_with(9))
        await self.run(backend, spec, programs.exits_with(9))
        seen = (await backend.observe())[spec.ref.name]
        assert (seen.phase, seen.exit_code) == (Phase.EXITED, 9)

    async def test_probe_and_capacity_are_plain(self, backend: SandboxBackend) -> None:
        health = await backend.probe()
        assert health.ok, health.detail
        assert health.promises
        assert all(promise.how for promise in health.promises)
        assert len({promise.name for promise in health.promises}) == len(health.promises)
        capacity = await backend.capacity()
        assert capacity.cpus > 0
        assert capacity.memory_bytes > 0
        assert capacity.gpus >= 0
