"""The backend suite, part one: a sandbox's ordinary life, its input and its output."""

# ruff: noqa: D102, ASYNC240 - tests: the name says it, numbers are cases

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainbox_sdk.backends import Cause, Level, Phase, SandboxBackend
from trainbox_sdk.errors import BackendRejected, TrainboxError
from trainbox_sdk.testing import guest_programs as programs
from trainbox_sdk.testing.sandbox_case import LIMITS, MIB, MakeSpec, SandboxCase


class LifecycleContract(SandboxCase):
    """Runs, output, idempotency, input, refusals."""

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
