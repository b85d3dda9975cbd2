"""The conformance suite of backends: subclass, give the fixtures, and every verb is put to proof.

::

    class TestMine(BackendContract):
        @pytest.fixture
        def environment(self) -> str:
            return "a reference that my backend can start"

        def make_backend(self) -> SandboxBackend:
            return MyBackend()

The guest programs are plain Python and need the standard library alone. What a backend confines is
read from its own :attr:`~trainbox_sdk.backends.Health.promises` and held against it: an
``enforced`` promise must hold under attack, a ``partial`` one must still bound the damage where
that can be stated, and one that is ``none`` or missing claims nothing: there is nothing to break.
"""

# ruff: noqa: D102, PLR2004, ASYNC240 - tests: the name says it, numbers are cases, files are small

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainbox_sdk.backends import (
    Cause,
    Level,
    Limits,
    Observation,
    Paths,
    Phase,
    SandboxBackend,
    SandboxRef,
    SandboxSpec,
)
from trainbox_sdk.errors import BackendRejected, TrainboxError
from trainbox_sdk.testing import guest_programs as programs
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


class BackendContract:
    """What every backend must do. Subclass it in a test module; see the module's text."""

    unknown_environment = "sha256:" + "0" * 64

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

    # --- an ordinary life

    async def test_success_leaves_outputs_events_and_log(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.ORDINARY, dataset=b"the data")
        seen = await self.run(backend, spec, programs.ORDINARY)
        assert (seen.ref, seen.phase, seen.exit_code) == (spec.ref, Phase.EXITED, 0)
        assert seen.cause is Cause.NONE
        assert (spec.paths.output / "model.onnx").read_bytes() == b"model of the data"
        assert spec.paths.events.read_bytes() == b'{"t": "progress", "at": 1.0, "fraction": 0.5}\n'
        assert spec.paths.log.read_bytes().splitlines() == [b"begin", b"end"]

    @pytest.mark.parametrize("code", [1, 65, 78, 124, 137, 143])
    async def test_exit_code_is_kept_and_never_read_as_a_cause(
        self, backend: SandboxBackend, make: MakeSpec, code: int
    ) -> None:
        program = programs.exits_with(code)
        seen = await self.run(backend, make(program), program)
        assert (seen.exit_code, seen.cause) == (code, Cause.NONE)

    async def test_death_by_signal_is_128_and_its_number(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        seen = await self.run(backend, make(programs.SEGFAULTS), programs.SEGFAULTS)
        assert (seen.exit_code, seen.cause) == (139, Cause.NONE)

    async def test_times_are_ordered(self, backend: SandboxBackend, make: MakeSpec) -> None:
        seen = await self.run(backend, make(programs.ORDINARY), programs.ORDINARY)
        assert seen.started_at is not None
        assert seen.finished_at is not None
        assert seen.started_at <= seen.finished_at
        assert abs(datetime.now(UTC) - seen.finished_at) < timedelta(minutes=5)

    async def test_peak_memory_is_measured_or_unknown(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.HOLDS_64_MIB)
        seen = await self.run(backend, spec, programs.HOLDS_64_MIB)
        peak = seen.peak_memory_bytes
        assert peak is None or 64 * MIB <= peak <= spec.limits.memory_bytes

    # --- output

    async def test_stdout_and_stderr_are_both_in_the_log(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.BOTH_STREAMS)
        await self.run(backend, spec, programs.BOTH_STREAMS)
        assert sorted(spec.paths.log.read_bytes().splitlines()) == [b"to stderr", b"to stdout"]

    async def test_log_keeps_bytes_that_are_no_text_and_a_last_line_without_end(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.RAW_BYTES)
        await self.run(backend, spec, programs.RAW_BYTES)
        assert spec.paths.log.read_bytes() == b"\xff\xfe\x00\x80\nno newline"

    async def test_every_line_is_there_once_and_in_order(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.TEN_THOUSAND_LINES)
        await self.run(backend, spec, programs.TEN_THOUSAND_LINES)
        assert spec.paths.log.read_bytes() == programs.numbered(10_000)

    async def test_log_flood_is_bounded_and_keeps_both_ends(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.FLOODS_8_MIB, limits=replace(LIMITS, log_bytes=64 * 1024))
        seen = await self.run(backend, spec, programs.FLOODS_8_MIB)
        log = spec.paths.log.read_bytes()
        assert len(log) <= 64 * 1024
        assert log.startswith(b"first line\n")
        assert seen.cause in {Cause.NONE, Cause.LOG_LIMIT}
        assert seen.cause is Cause.LOG_LIMIT or log.endswith(b"last line\n")

    # --- idempotency

    async def test_submitted_twice_runs_once(self, backend: SandboxBackend, make: MakeSpec) -> None:
        program = programs.COUNTS_ITS_RUNS
        spec = make(program)
        await self.script(spec, program)
        for _ in range(2):
            await backend.prepare(spec)
        for _ in range(2):
            await backend.start(spec)
        assert (await self.wait(backend, spec)).exit_code == 0
        await backend.prepare(spec)
        await backend.start(spec)
        assert (await self.wait(backend, spec)).exit_code == 0
        assert (spec.paths.output / "runs").read_bytes() == b"ran\n"

    async def test_submitted_again_by_a_fresh_backend_runs_once(
        self, backend: SandboxBackend, make: MakeSpec, instance: str
    ) -> None:
        program = programs.COUNTS_ITS_RUNS
        spec = make(program)
        await self.script(spec, program)
        await backend.prepare(spec)
        fresh = await self.fresh(instance)
        await fresh.prepare(spec)
        await fresh.start(spec)
        await self.wait(fresh, spec)
        await backend.start(spec)
        await fresh.close()
        assert (await self.wait(backend, spec)).exit_code == 0
        assert (spec.paths.output / "runs").read_bytes() == b"ran\n"

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

    # --- what goes in

    async def test_argv_and_variables_arrive_as_they_are(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        program = programs.ECHOES_ARGV_AND_ENV
        spec = make(
            program,
            argv=programs.ODD_WORDS,
            env={"ODD": "line\nbreak = \u00fc \U0001f680 $(id) 'quoted'", "EMPTY": ""},
        )
        await self.run(backend, spec, program)
        if not self.scripted:
            arrived = (spec.paths.output / "arrived").read_text()
            assert arrived == programs.arrived(programs.ODD_WORDS, spec.env)

    async def test_environment_is_the_contract_and_nothing_of_the_host(
        self, backend: SandboxBackend, make: MakeSpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TRAINBOX_TEST_SECRET", "from the host")
        spec = make(programs.LISTS_VARIABLES, env={"ASKED_FOR": "1"}, dataset=b"x")
        await self.run(backend, spec, programs.LISTS_VARIABLES)
        if not self.scripted:
            names = set((spec.paths.output / "names").read_text().split())
            assert names >= programs.CONTRACT_VARIABLES | {"ASKED_FOR"}
            assert names <= programs.CONTRACT_VARIABLES | programs.HARMLESS_VARIABLES | {
                "ASKED_FOR"
            }

    async def test_extra_variables_never_replace_the_contracts(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.ORDINARY, env={"MODEL_OUTPUT_PATH": "/nowhere", "PYTHONPATH": "/evil"})
        assert (await self.run(backend, spec, programs.ORDINARY)).exit_code == 0

    async def test_staged_code_and_data_are_readable_and_read_only(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        program = programs.TRIES_TO_CHANGE_ITS_INPUTS
        spec = make(program, dataset=b"the data", suffix=".odd name.onnx")
        (spec.paths.code / "staged.py").write_text("WORD = 'imported'\n")
        before = spec.paths.spec.read_bytes()
        seen = await self.run(backend, spec, program)
        assert seen.exit_code == 0, spec.paths.log.read_text(errors="replace")
        level = await self.level(backend, "root")
        if level is Level.ENFORCED:
            assert (spec.paths.output / "changed").read_text() == ""
            assert spec.paths.spec.read_bytes() == before

    # --- what is refused

    async def test_unknown_environment_is_refused(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = replace(make(programs.ORDINARY), environment=self.unknown_environment)
        with pytest.raises(BackendRejected) as caught:
            await backend.prepare(spec)
        assert caught.value.code == "unknown_environment"
        assert spec.ref.name not in await backend.observe()

    @pytest.mark.parametrize("part", ["spec", "code", "output", "events"])
    async def test_missing_path_is_refused(
        self, backend: SandboxBackend, make: MakeSpec, part: str
    ) -> None:
        spec = make(programs.ORDINARY)
        path: Path = getattr(spec.paths, part)
        path.rename(path.with_name("moved"))
        with pytest.raises(BackendRejected, match=path.name):
            await backend.prepare(spec)
        assert spec.ref.name not in await backend.observe()

    async def test_more_gpus_than_there_are_is_refused(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        spec = make(programs.ORDINARY)
        gpus = (await backend.capacity()).gpus + 1
        with pytest.raises(BackendRejected, match="GPU"):
            await backend.prepare(replace(spec, gpus=gpus))

    @pytest.mark.parametrize("where", ["argv", "env"])
    async def test_null_byte_is_refused(
        self, backend: SandboxBackend, make: MakeSpec, where: str
    ) -> None:
        spec = make(programs.ORDINARY)
        bad = (
            replace(spec, argv=("-c", "a\0b"))
            if where == "argv"
            else replace(spec, env={"A": "\0"})
        )
        with pytest.raises(BackendRejected, match="null"):
            await backend.prepare(bad)

    async def test_start_of_what_was_never_prepared_is_refused(
        self, backend: SandboxBackend, make: MakeSpec
    ) -> None:
        with pytest.raises(TrainboxError):
            await backend.start(make(programs.ORDINARY))

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

    # --- shorthand

    scripted = False
    """Whether programs are scripts of a fake, so that their inner findings do not exist."""

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
