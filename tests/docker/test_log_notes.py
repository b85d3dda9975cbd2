"""Time and stream of what a container prints, and the limit on how fast it may."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbox_guest.shim.log_times import STDERR, STDOUT, SUFFIX, Piece, parse
from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_sdk.backends import Cause, SandboxSpec
from trainbox_sdk.testing.backend import MakeSpec
from trainbox_sdk.testing.guest_programs import Program

pytestmark = pytest.mark.docker

MIB = 1024**2

TALKS_THEN_WAITS = Program(
    """
sys.stdout.buffer.write(b"out \\xff\\n"); sys.stdout.flush()
ready()
while not os.path.exists(os.path.join(scratch, "go")):
    time.sleep(0.02)
sys.stderr.write("err\\n")
"""
)
FLOODS_WHEN_TOLD = Program(
    """
ready()
while not os.path.exists(os.path.join(scratch, "go")):
    time.sleep(0.02)
for _ in range(600):
    sys.stdout.write("x\\n" * 50_000)
"""
)
CHATTERS = Program("for n in range(60_000): print(n)\nprint('the end')")


def notes(spec: SandboxSpec) -> list[Piece]:
    return parse(Path(f"{spec.paths.log}{SUFFIX}").read_bytes())


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.02)


async def running(backend: DockerBackend, spec: SandboxSpec) -> asyncio.Task[Any]:
    await backend.prepare(spec)
    await backend.start(spec)
    waiting = asyncio.create_task(backend.wait(spec))
    await until(lambda: b"ready" in spec.paths.events.read_bytes())
    return waiting


async def test_streams_and_times_are_noted_and_survive_a_restart_of_the_daemon(
    new_backend: Any, make: MakeSpec, instance: str
) -> None:
    began = time.time() * 1000
    first = new_backend()
    await first.open(instance)
    spec = make(TALKS_THEN_WAITS)
    waiting = await running(first, spec)
    await until(lambda: spec.paths.log.exists() and b"out" in spec.paths.log.read_bytes())
    [before] = notes(spec)
    assert before.stream == STDOUT
    assert began - 1 <= before.at_ms <= time.time() * 1000 + 1
    await first.close()
    waiting.cancel()
    restarted = time.time() * 1000
    second = new_backend()
    await second.open(instance)
    adopted = asyncio.create_task(second.wait(spec))
    (spec.paths.scratch / "go").touch()
    assert (await adopted).exit_code == 0
    out, err = notes(spec)
    assert (out.stream, err.stream) == (STDOUT, STDERR)
    assert abs(out.at_ms - before.at_ms) < 1000, "the engine's own time, from before the restart"
    assert out.at_ms < restarted <= err.at_ms + 1
    assert spec.paths.log.read_bytes()[err.offset :] == b"err\n"
    assert not list(spec.paths.log.parent.glob("*.part*"))


async def test_output_that_comes_too_fast_loses_lines_and_says_so(
    new_backend: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(log_lines_per_s=100, log_burst_s=1)
    await backend.open(instance)
    spec = make(CHATTERS)
    await backend.prepare(spec)
    await backend.start(spec)
    assert (await backend.wait(spec)).exit_code == 0
    log = spec.paths.log.read_bytes()
    assert log.startswith(b"0\n1\n2\n")
    assert log.endswith(b"59999\nthe end\n")
    assert b" left out here: over 100 lines a second]\n" in log
    assert log.count(b"\n") < 40_000


async def test_flood_that_outlives_a_daemon_is_killed_by_the_next(
    new_backend: Any, make: MakeSpec, instance: str
) -> None:
    first = new_backend(log_flood_bytes=2 * MIB)
    await first.open(instance)
    spec = make(FLOODS_WHEN_TOLD)
    waiting = await running(first, spec)
    await first.close()
    waiting.cancel()
    second = new_backend(log_flood_bytes=2 * MIB)
    await second.open(instance)
    adopted = asyncio.create_task(second.wait(spec))
    (spec.paths.scratch / "go").touch()
    assert (await adopted).cause is Cause.LOG_LIMIT
