"""Sandboxes that stand by: used once, found again after a crash, gone when they are not wanted."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainbox_guest.confine import syscalls
from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_plugins.docker_backend.plugin import Plugin
from trainbox_plugins.docker_backend.slot_directory import mount_points
from trainbox_sdk.backends import Observation, Phase, SandboxSpec
from trainbox_sdk.errors import BackendUnavailable
from trainbox_sdk.testing import guest_programs as programs
from trainbox_sdk.testing.backend import MakeSpec

pytestmark = pytest.mark.docker

Open = Callable[..., Awaitable[DockerBackend]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
async def opened(instance: str, home: Path) -> AsyncIterator[Open]:
    """Opens backends with standby on; in the end nothing of the instance may be left."""
    made: list[DockerBackend] = []
    home.mkdir()

    async def build(**settings: Any) -> DockerBackend:
        config = Config(**{"standby": "on", "standby_per_class": 1, **settings})
        made.append(DockerBackend(DockerEngine(), config, None))  # type: ignore[arg-type]
        await made[-1].open(instance, home)
        return made[-1]

    yield build
    for backend in made:
        for seen in (await backend.observe()).values():
            await backend.remove(seen.ref)
        await backend.close()
    assert await containers(instance) == []
    assert mount_points(home) == set()
    assert [path for path in home.rglob("*") if path.is_file()] == []


async def containers(instance: str) -> list[str]:
    """Return the ids of an instance's containers."""
    engine = DockerEngine()
    found = await engine.list_by_label({"trainbox.instance": instance})
    await engine.close()
    return [str(each["Id"]) for each in found]


async def until(fine: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(60):
        while not await fine():
            await asyncio.sleep(0.05)


async def begin(backend: DockerBackend, spec: SandboxSpec) -> None:
    await backend.prepare(spec)
    await backend.start(spec)
    async with asyncio.timeout(60):
        while b"ready" not in spec.paths.events.read_bytes():
            await asyncio.sleep(0.01)


async def finish(backend: DockerBackend, spec: SandboxSpec) -> Observation:
    (spec.paths.scratch / "go").touch()
    async with asyncio.timeout(60):
        return await backend.wait(spec)


async def run(backend: DockerBackend, spec: SandboxSpec) -> Observation:
    await backend.prepare(spec)
    await backend.start(spec)
    async with asyncio.timeout(60):
        return await backend.wait(spec)


def another(spec: SandboxSpec, make: MakeSpec) -> SandboxSpec:
    """Return a job of the same class."""
    fresh = make(programs.ORDINARY)
    paths = replace(fresh.paths, code=spec.paths.code)
    return replace(spec, ref=fresh.ref, paths=paths)


async def test_nothing_stands_by_until_it_was_wanted(
    opened: Open, make: MakeSpec, instance: str
) -> None:
    backend = await opened()
    spec = make(programs.ORDINARY)
    cold = await run(backend, spec)
    assert cold.confinement["start"] == "cold"
    await backend.remove(spec.ref)

    async def one() -> bool:
        return backend.standby.sentence() == "1 stand by"

    await until(one)
    assert len(await containers(instance)) == 1
    warm = await run(backend, another(spec, make))
    assert (warm.confinement["start"], warm.exit_code) == ("warm", 0)


async def test_each_serves_one_job(opened: Open, make: MakeSpec) -> None:
    backend = await opened()
    first = make(programs.ORDINARY)
    await backend.standby.fill(first)
    assert (await run(backend, first)).confinement["start"] == "warm"
    second = another(first, make)
    # The next one is not there yet: what has run is not used again.
    assert (await run(backend, second)).confinement["start"] == "cold"
    assert (second.paths.output / "model.onnx").exists()


async def test_observe_counts_jobs_alone(opened: Open, make: MakeSpec) -> None:
    backend = await opened()
    spec = make(programs.WAITS_THEN_PRINTS)
    await backend.standby.fill(spec)
    assert await backend.observe() == {}
    await backend.prepare(spec)
    assert (await backend.observe())[spec.ref.name].phase is Phase.CREATED
    await backend.start(spec)
    assert (await backend.observe())[spec.ref.name].phase is Phase.RUNNING
    seen = await finish(backend, spec)
    assert seen.started_at is not None
    assert seen.finished_at is not None
    assert seen.started_at <= seen.finished_at


async def test_mounts_leave_the_host_and_stay_inside(
    opened: Open, make: MakeSpec, home: Path
) -> None:
    backend = await opened()
    spec = make(programs.WAITS_THEN_PRINTS, dataset=b"data")
    await backend.standby.fill(spec)
    await begin(backend, spec)

    async def left() -> bool:
        return not any(str(spec.ref) in point or "out" in point for point in mount_points(home))

    await until(left)
    assert (await finish(backend, spec)).exit_code == 3
    assert spec.paths.log.read_bytes() == b"ready\n" + programs.numbered(1000)


async def test_a_standby_that_died_is_passed_over(
    opened: Open, make: MakeSpec, instance: str
) -> None:
    backend = await opened()
    spec = make(programs.ORDINARY)
    await backend.standby.fill(spec)
    (container,) = await containers(instance)
    subprocess.run(["docker", "kill", container], check=True, capture_output=True)
    seen = await run(backend, spec)
    assert (seen.confinement["start"], seen.exit_code) == ("cold", 0)


async def test_files_that_do_not_get_through_mean_a_cold_start(
    opened: Open, make: MakeSpec, home: Path
) -> None:
    backend = await opened()
    spec = make(programs.ORDINARY, dataset=b"data")
    await backend.standby.fill(spec)
    (root,) = home.glob("standby/slots/*/root")
    syscalls.set_propagation(str(root), syscalls.MS_PRIVATE)
    seen = await run(backend, spec)
    assert (seen.confinement["start"], seen.exit_code) == ("cold", 0)
    assert (spec.paths.output / "model.onnx").read_bytes() == b"model of data"


async def test_one_that_dies_between_hand_over_and_word_is_started_cold(
    opened: Open, make: MakeSpec, instance: str
) -> None:
    backend = await opened()
    spec = make(programs.ORDINARY)
    await backend.standby.fill(spec)
    await backend.prepare(spec)
    (container,) = await containers(instance)
    subprocess.run(["docker", "kill", container], check=True, capture_output=True)
    await backend.start(spec)
    seen = await backend.wait(spec)
    assert (seen.confinement["start"], seen.exit_code) == ("cold", 0)


async def test_jobs_with_devices_start_cold(opened: Open, make: MakeSpec) -> None:
    backend = await opened(gpu_devices=("0",))
    spec = make(programs.ORDINARY)
    await backend.standby.fill(spec)
    assert not await backend.standby.take(replace(spec, gpus=1), {})


# --- when they are let go


async def test_idle_ones_are_let_go(opened: Open, make: MakeSpec, instance: str) -> None:
    backend = await opened(standby_idle_s=1.0)
    await backend.standby.fill(make(programs.ORDINARY))

    async def gone() -> bool:
        return await containers(instance) == []

    await until(gone)
    assert backend.standby.sentence() == "0 stand by"


async def test_old_ones_are_replaced(opened: Open, make: MakeSpec, instance: str) -> None:
    backend = await opened(standby_max_age_s=1.0)
    await backend.standby.fill(make(programs.ORDINARY))
    before = set(await containers(instance))

    async def replaced() -> bool:
        now = set(await containers(instance))
        return bool(now) and not now & before

    await until(replaced)


async def test_a_budget_that_holds_none_keeps_none(
    opened: Open, make: MakeSpec, instance: str
) -> None:
    backend = await opened(standby_memory_bytes=1, standby_idle_s=0.2)
    spec = make(programs.ORDINARY)
    await run(backend, spec)
    await backend.remove(spec.ref)
    for _ in range(20):  # looks of the background, each of which could make one
        await asyncio.sleep(0.1)
        assert await containers(instance) == []


async def test_they_give_way_to_a_job_that_needs_the_memory(
    opened: Open, make: MakeSpec, instance: str
) -> None:
    backend = await opened()
    await backend.standby.fill(make(programs.ORDINARY))
    backend.standby.make_room(2**50)

    async def gone() -> bool:
        return await containers(instance) == []

    await until(gone)


async def test_closing_removes_what_waits_and_leaves_what_runs(
    opened: Open, make: MakeSpec, instance: str
) -> None:
    backend = await opened()
    spec = make(programs.WAITS_THEN_PRINTS)
    await backend.standby.fill(spec)
    await begin(backend, spec)
    await backend.standby.fill(another(spec, make))
    assert len(await containers(instance)) == 2
    await backend.close()
    assert len(await containers(instance)) == 1
    again = await opened()
    assert (await finish(again, spec)).exit_code == 3


@pytest.mark.parametrize("pause_s", [0.0, 0.02, 0.1, 0.2])
async def test_closing_while_one_is_made_leaves_nothing(
    opened: Open, make: MakeSpec, instance: str, pause_s: float
) -> None:
    backend = await opened()
    filling = asyncio.create_task(backend.standby.fill(make(programs.ORDINARY)))
    await asyncio.sleep(pause_s)
    filling.cancel()
    await asyncio.gather(filling, return_exceptions=True)
    await backend.close()
    assert await containers(instance) == []


# --- daemons that are killed

KILLED = """
import asyncio, json, os, signal, sys
from datetime import datetime
from pathlib import Path
from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_sdk.backends import Limits, Paths, SandboxRef, SandboxSpec

told = json.loads(sys.argv[1])
paths = {name: path and Path(path) for name, path in told["paths"].items()}
spec = SandboxSpec(
    ref=SandboxRef(**told["ref"]), environment=told["environment"], argv=tuple(told["argv"]),
    paths=Paths(**paths), limits=Limits(**told["limits"]),
    deadline_at=datetime.fromisoformat(told["deadline_at"]),
)

async def main():
    backend = DockerBackend(DockerEngine(), Config(standby="on", standby_per_class=1), None)
    await backend.open(spec.ref.instance, Path(told["home"]))
    await backend.standby.fill(spec)
    await backend.prepare(spec)
    if told["starts"]:
        await backend.start(spec)
        await backend.standby.fill(spec)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


def killed_daemon(spec: SandboxSpec, home: Path, *, starts: bool) -> None:
    """Have another process hand a standby to a spec, and die by SIGKILL."""
    told = {
        "ref": vars(spec.ref),
        "environment": spec.environment,
        "argv": spec.argv,
        "paths": {name: path and str(path) for name, path in vars(spec.paths).items()},
        "limits": vars(spec.limits),
        "deadline_at": spec.deadline_at.isoformat(),
        "home": str(home),
        "starts": starts,
    }
    died = subprocess.run(
        [sys.executable, "-c", KILLED, json.dumps(told)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert died.returncode == -9, died.stderr


async def test_after_a_kill_the_job_is_adopted_and_what_waited_is_removed(
    opened: Open, make: MakeSpec, instance: str, home: Path
) -> None:
    spec = make(programs.WAITS_THEN_PRINTS)
    killed_daemon(spec, home, starts=True)
    assert len(await containers(instance)) == 2
    backend = await opened()

    async def tidy() -> bool:
        return len(await containers(instance)) == 1 and mount_points(home) == set()

    await until(tidy)
    assert (await backend.observe())[spec.ref.name].phase is Phase.RUNNING
    await backend.prepare(spec)
    await backend.start(spec)
    seen = await finish(backend, spec)
    assert (seen.exit_code, seen.confinement["start"]) == (3, "warm")
    assert spec.paths.log.read_bytes() == b"ready\n" + programs.numbered(1000)


async def test_killed_before_the_word_it_is_given_by_the_next_daemon_once(
    opened: Open, make: MakeSpec, home: Path
) -> None:
    spec = make(programs.COUNTS_ITS_RUNS)
    killed_daemon(spec, home, starts=False)
    backend = await opened()
    assert (await backend.observe())[spec.ref.name].phase is Phase.CREATED
    assert (await backend.wait(spec)).phase is Phase.CREATED
    seen = await run(backend, spec)
    assert (seen.exit_code, seen.confinement["start"]) == (0, "warm")
    await backend.start(spec)
    assert (spec.paths.output / "runs").read_bytes() == b"ran\n"


async def test_stop_and_remove_reach_one_that_never_got_the_word(
    opened: Open, make: MakeSpec, instance: str, home: Path
) -> None:
    spec = make(programs.ORDINARY)
    killed_daemon(spec, home, starts=False)
    backend = await opened()
    await backend.stop(spec.ref, 1.0)
    await backend.remove(spec.ref)
    assert await containers(instance) == []


# --- where none can be


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"standby": "off"}, "switched off"),
        ({"runtime": "runsc"}, "do not see what is mounted after"),
    ],
    ids=["off", "gvisor"],
)
async def test_where_none_can_be_it_says_why(
    opened: Open, make: MakeSpec, settings: dict[str, str], why: str
) -> None:
    backend = await opened(**settings)
    assert why in backend.standby.sentence()
    with pytest.raises(BackendUnavailable, match="no sandbox stands by"):
        await backend.standby.fill(make(programs.ORDINARY))


async def test_a_budget_that_holds_none_is_said(opened: Open) -> None:
    backend = await opened(standby_memory_bytes=1024**2)
    found = (await backend.probe()).detail
    assert "no sandbox stands by: standby_memory_bytes = 1048576 does not hold one" in found


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"standby": "on"}, "up to 2 per kind of job would stand by, in 512 MiB together"),
        ({"standby": "off"}, "no sandbox would stand by: switched off (standby)"),
        ({"standby": "on", "standby_memory_bytes": 1}, "would stand by: standby_memory_bytes = 1 "),
    ],
    ids=["on", "off", "too little"],
)
async def test_who_only_looks_says_what_would_be_and_begins_nothing(
    settings: dict[str, Any], said: str
) -> None:
    plugin = Plugin(Config(**settings))
    (backend,) = plugin.register_backends()
    await backend.open("doctor1")
    try:
        assert said in (await backend.probe()).detail
        assert backend.standby.off
    finally:
        await backend.close()


async def test_probe_says_what_stands_by(opened: Open, make: MakeSpec) -> None:
    backend = await opened()
    await backend.standby.fill(make(programs.ORDINARY))
    assert "1 stand by" in (await backend.probe()).detail
