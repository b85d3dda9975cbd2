"""The scripted fake does what it is told, whatever it is told."""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from trainbox_guest.protocol import GuestSpec
from trainbox_sdk.backends import (
    Capacity,
    Cause,
    Observation,
    Phase,
    SandboxBackend,
    SandboxSpec,
)
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import BackendRejected, BackendUnavailable
from trainbox_sdk.testing.backend import MakeSpec, SandboxFiles
from trainbox_sdk.testing.fake_backend import FakeBackend, FakeHost, FakeScript
from trainbox_sdk.testing.guest_programs import Program


@pytest.fixture
def host() -> FakeHost:
    return FakeHost()


@pytest.fixture
async def backend(host: FakeHost) -> FakeBackend:
    backend = FakeBackend(host)
    await backend.open("here")
    return backend


@pytest.fixture
def make(tmp_path: Path) -> MakeSpec:
    return MakeSpec(SandboxFiles(tmp_path / "s"), "fake:any", "here")


async def run(backend: SandboxBackend, spec: SandboxSpec) -> Observation:
    await backend.prepare(spec)
    await backend.start(spec)
    async with asyncio.timeout(10):
        return await backend.wait(spec)


async def test_default_is_an_empty_success(backend: FakeBackend, make: MakeSpec) -> None:
    seen = await run(backend, make(Program("")))
    assert (seen.phase, seen.exit_code, seen.cause) == (Phase.EXITED, 0, Cause.NONE)


async def test_scripts_follow_one_another_and_the_last_stays(
    backend: FakeBackend, host: FakeHost, make: MakeSpec
) -> None:
    host.on(FakeScript(exit_code=1), FakeScript(exit_code=2), FakeScript(), job_id="job-of-a-test")
    codes = [(await run(backend, make(Program("")))).exit_code for _ in range(4)]
    assert codes == [1, 2, 0, 0]


async def test_later_rules_win_and_roles_tell_apart(
    backend: FakeBackend, host: FakeHost, make: MakeSpec
) -> None:
    host.on(FakeScript(exit_code=1))
    host.on(FakeScript(exit_code=2), role="check")
    host.on(FakeScript(exit_code=3), when=lambda spec: spec.gpus == 0 and "X" in spec.env)
    spec = make(Program(""))
    check = replace(spec, ref=replace(spec.ref, role="check"))
    assert (await run(backend, spec)).exit_code == 1
    assert (await run(backend, check)).exit_code == 2
    assert (await run(backend, make(Program(""), env={"X": "1"}))).exit_code == 3


async def test_script_can_come_with_the_jobs_own_parameters(
    backend: FakeBackend, make: MakeSpec
) -> None:
    spec = make(Program(""))
    told = {"exit_code": 4, "stdout": "hello\n", "events": ["e1"], "outputs": {"f": "text"}}
    spec.paths.spec.write_text(GuestSpec("a:b", "t", params={"fake": told}).to_json())
    assert (await run(backend, spec)).exit_code == 4
    assert spec.paths.log.read_bytes() == b"hello\n"
    assert spec.paths.events.read_bytes() == b"e1\n"
    assert (spec.paths.output / "f").read_text() == "text"


async def test_result_is_written_in_the_guests_envelope(
    backend: FakeBackend, host: FakeHost, make: MakeSpec
) -> None:
    host.on(FakeScript(result={"metrics": {"rmse": 0.5}}))
    spec = make(Program(""))
    await run(backend, spec)
    document = json.loads((spec.paths.output / "result.json").read_text())
    assert document == {"protocol": 1, "metrics": {"rmse": 0.5}}


@pytest.mark.parametrize(
    ("script", "exit_code", "cause"),
    [
        (FakeScript(out_of_memory=True), 137, Cause.OUT_OF_MEMORY),
        (FakeScript(vanishes=True), None, Cause.LOST),
    ],
)
async def test_ends_that_are_not_the_codes_own(
    backend: FakeBackend,
    host: FakeHost,
    make: MakeSpec,
    script: FakeScript,
    exit_code: int | None,
    cause: Cause,
) -> None:
    host.on(script)
    spec = make(Program(""))
    seen = await run(backend, spec)
    assert (seen.exit_code, seen.cause) == (exit_code, cause)
    assert not list(spec.paths.output.iterdir())


async def test_start_failure_is_rejected_and_leaves_nothing(
    backend: FakeBackend, host: FakeHost, make: MakeSpec
) -> None:
    host.on(FakeScript(start_failure="no such interpreter"))
    spec = make(Program(""))
    await backend.prepare(spec)
    with pytest.raises(BackendRejected, match="no such interpreter") as caught:
        await backend.start(spec)
    assert caught.value.code == Cause.START_FAILED
    assert await backend.observe() == {}


async def test_away_means_every_verb_is_unavailable_and_sandboxes_go_on(
    backend: FakeBackend, host: FakeHost, make: MakeSpec
) -> None:
    host.on(FakeScript(waits_for="go"))
    spec = make(Program(""))
    await backend.prepare(spec)
    await backend.start(spec)
    waiter = asyncio.create_task(backend.wait(spec))
    await asyncio.sleep(0.02)
    host.away = True
    with pytest.raises(BackendUnavailable):
        await waiter
    for verb in (
        backend.prepare(spec),
        backend.start(spec),
        backend.wait(spec),
        backend.observe(),
        backend.stop(spec.ref, 1),
        backend.remove(spec.ref),
        backend.capacity(),
    ):
        with pytest.raises(BackendUnavailable):
            await verb
    assert not (await backend.probe()).ok
    host.away = False
    (spec.paths.scratch / "go").touch()
    assert (await backend.wait(spec)).exit_code == 0


async def test_single_calls_can_fail(backend: FakeBackend, host: FakeHost, make: MakeSpec) -> None:
    host.fail_next("prepare", times=2)
    spec = make(Program(""))
    for _ in range(2):
        with pytest.raises(BackendUnavailable):
            await backend.prepare(spec)
    assert host.sandboxes == {}
    assert (await run(backend, spec)).exit_code == 0
    assert [verb for verb, _ in host.calls] == ["prepare"] * 3 + ["start", "wait"]


async def test_restart_is_a_new_backend_over_the_same_host(
    backend: FakeBackend, host: FakeHost, make: MakeSpec
) -> None:
    host.on(FakeScript(waits_for="go", exit_code=6, last_words=b"bye\n"))
    spec = make(Program(""))
    await backend.prepare(spec)
    await backend.start(spec)
    await backend.close()
    again = FakeBackend(host)
    await again.open("here")
    assert (await again.observe())[spec.ref.name].phase is Phase.RUNNING
    (spec.paths.scratch / "go").touch()
    assert (await again.wait(spec)).exit_code == 6
    assert spec.paths.log.read_bytes() == b"bye\n"
    assert host.sandboxes[spec.ref.name].starts == 1


async def test_environments_are_built_once(
    backend: FakeBackend, host: FakeHost, tmp_path: Path
) -> None:
    (tmp_path / "lock").write_text("a==1\n")
    environment = Environment("tabular", "3.11", tmp_path / "lock")
    heard: list[tuple[float, str]] = []
    first = await backend.build_environment(environment, lambda *said: heard.append(said))
    again = await backend.build_environment(environment, lambda *said: heard.append(said))
    assert first == again
    assert len(heard) == 1
    assert await backend.environments() == [first]


async def test_capacity_is_the_hosts(backend: FakeBackend, host: FakeHost, make: MakeSpec) -> None:
    host.capacity = Capacity(cpus=1, memory_bytes=1, gpus=2)
    assert (await backend.capacity()).gpus == 2
    await backend.prepare(replace(make(Program("")), gpus=2))
    with pytest.raises(BackendRejected, match="GPU"):
        await backend.prepare(replace(make(Program("")), gpus=3))


async def test_instances_are_apart(host: FakeHost, make: MakeSpec) -> None:
    here, elsewhere = FakeBackend(host), FakeBackend(host)
    await here.open("here")
    await elsewhere.open(uuid.uuid4().hex)
    await run(here, make(Program("")))
    assert len(await here.observe()) == 1
    assert await elsewhere.observe() == {}
