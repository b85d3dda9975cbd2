"""The engine is dead, slow, restarted, or its answer is lost: nothing runs twice, nothing is lost."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbox_plugins.docker_backend.engine_streams import reach
from trainbox_sdk.backends import Cause, Phase, SandboxSpec
from trainbox_sdk.errors import BackendUnavailable
from trainbox_sdk.testing import guest_programs as programs
from trainbox_sdk.testing.backend import MakeSpec
from trainbox_sdk.testing.guest_programs import Program

pytestmark = pytest.mark.docker

RELEASED = Program(
    """
print("ready", flush=True)
ready()
number = 0
while not os.path.exists(os.path.join(scratch, "go")):
    print("line", number, flush=True)
    number += 1
    time.sleep(0.005)
leave("printed", str(number))
"""
)


async def begin(backend: Any, spec: SandboxSpec) -> None:
    await backend.prepare(spec)
    await backend.start(spec)
    await said(spec, b"ready")


async def said(spec: SandboxSpec, word: bytes) -> None:
    async with asyncio.timeout(30):
        while word not in spec.paths.events.read_bytes():
            await asyncio.sleep(0.01)


def release(spec: SandboxSpec) -> None:
    (spec.paths.scratch / "go").touch()


def assert_every_line_once(spec: SandboxSpec) -> None:
    printed = int((spec.paths.output / "printed").read_text())
    assert spec.paths.log.read_bytes() == b"ready\n" + programs.numbered(printed)


# --- an engine that is not there


async def test_missing_socket_is_said_with_the_cure(new_backend: Any, tmp_path: Path) -> None:
    backend = new_backend(f"unix://{tmp_path}/none.sock")
    await backend.open("i")
    health = await backend.probe()
    assert not health.ok
    assert "no Docker socket" in health.detail
    assert "systemctl" in health.detail
    with pytest.raises(BackendUnavailable):
        await backend.observe()


async def test_socket_nobody_listens_on_is_said(new_backend: Any, chaos: Any) -> None:
    await chaos.down(leave_socket=True)
    health = await new_backend(chaos.url).probe()
    assert not health.ok
    assert "nothing listens" in health.detail


def test_socket_closed_to_this_user_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o011)
    closed = tmp_path / "closed.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(closed))
        listener.listen()
        closed.chmod(0)
        said = as_nobody(lambda: reach(str(closed)))
    assert "may not open the Docker socket" in said
    assert "group" in said


def as_nobody(work: Callable[[], None]) -> str:
    """Return what the call raises in a child that is no root; a root parent is let through."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(65534)
            work()
            os.write(writer, b"nothing was raised")
        except BackendUnavailable as error:
            os.write(writer, str(error).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.wait()
    return said


async def test_engine_that_takes_connections_and_never_answers_meets_the_deadline(
    new_backend: Any, chaos: Any, make: MakeSpec
) -> None:
    chaos.silent = True
    backend = new_backend(chaos.url, call_deadline_s=0.3, start_deadline_s=0.3)
    health = await backend.probe()
    assert not health.ok
    spec = make(programs.ORDINARY)
    for verb in (
        backend.prepare(spec),
        backend.start(spec),
        backend.wait(spec),
        backend.observe(),
        backend.stop(spec.ref, 0.1),
        backend.remove(spec.ref),
        backend.capacity(),
    ):
        async with asyncio.timeout(20):
            with pytest.raises(BackendUnavailable):
                await verb


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"",
        b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_garbage_in_place_of_an_engine(
    new_backend: Any, chaos: Any, make: MakeSpec, answer: bytes
) -> None:
    chaos.garbage = answer or b"\r\n"
    backend = new_backend(chaos.url)
    assert not (await backend.probe()).ok
    with pytest.raises(Exception) as caught:
        await backend.prepare(make(programs.ORDINARY))
    assert type(caught.value).__module__ == "trainbox_sdk.errors", caught.value


FAILS = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\nContent-Length: 18\r\n\r\n" + (
    b'{"message":"busy"}'
)


async def test_engine_that_fails_is_away_and_not_an_error_of_its_own(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    spec = make(programs.ORDINARY)
    await backend.prepare(spec)
    chaos.garbage = FAILS
    for verb in (
        backend.start(spec),
        backend.wait(spec),
        backend.observe(),
        backend.stop(spec.ref, 0.1),
        backend.remove(spec.ref),
        backend.capacity(),
    ):
        with pytest.raises(BackendUnavailable, match="busy"):
            await verb
    chaos.garbage = b""
    await backend.start(spec)
    assert (await backend.wait(spec)).exit_code == 0
    await backend.remove(spec.ref)


async def test_engine_that_fails_at_a_wait_is_asked_again(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    spec = make(RELEASED)
    await begin(backend, spec)
    chaos.garbage = FAILS
    chaos.cut()
    for _ in range(2):
        with pytest.raises(BackendUnavailable, match="busy"):
            await backend.wait(spec)
    chaos.garbage = b""
    release(spec)
    assert (await backend.wait(spec)).exit_code == 0
    assert_every_line_once(spec)


# --- a disk that takes nothing


async def test_log_that_cannot_be_written_is_waited_out(
    new_backend: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend()
    await backend.open(instance)
    spec = make(programs.ORDINARY)
    await backend.prepare(spec)
    spec.paths.log.symlink_to("/dev/full")
    with pytest.raises(BackendUnavailable, match="log"):
        await backend.start(spec)
    spec.paths.log.unlink()
    await backend.start(spec)
    assert (await backend.wait(spec)).exit_code == 0
    assert spec.paths.log.read_bytes()


async def test_kill_that_can_leave_no_note_kills_all_the_same(
    new_backend: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(log_flood_bytes=100_000)
    await backend.open(instance)
    spec = make(programs.FLOODS_8_MIB)
    await backend.prepare(spec)
    shutil.rmtree(spec.paths.state)
    await backend.start(spec)
    seen = await backend.wait(spec)
    assert seen.cause is Cause.LOG_LIMIT


# --- answers that are lost


async def test_lost_answer_to_create_makes_one_sandbox(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    await backend.observe()
    spec = make(programs.COUNTS_ITS_RUNS)
    chaos.lose_answer_to = b"/containers/create"
    with pytest.raises(BackendUnavailable):
        await backend.prepare(spec)
    await backend.prepare(spec)
    assert len(await backend.observe()) == 1
    await backend.start(spec)
    assert (await backend.wait(spec)).exit_code == 0
    assert (spec.paths.output / "runs").read_bytes() == b"ran\n"


async def test_lost_answer_to_start_runs_once_with_its_log_whole(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    spec = make(RELEASED)
    await backend.prepare(spec)
    chaos.lose_answer_to = b"/start"
    with pytest.raises(BackendUnavailable):
        await backend.start(spec)
    await said(spec, b"ready")
    await backend.start(spec)
    waiter = asyncio.create_task(backend.wait(spec))
    await asyncio.sleep(0.1)
    release(spec)
    assert (await waiter).exit_code == 0
    assert_every_line_once(spec)


async def test_lost_answer_to_remove_is_made_good_by_another(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    spec = make(programs.ORDINARY)
    await backend.prepare(spec)
    chaos.lose_answer_to = b"DELETE "
    with pytest.raises(BackendUnavailable):
        await backend.remove(spec.ref)
    await backend.remove(spec.ref)
    assert await backend.observe() == {}


# --- an engine that goes away and comes back


async def test_wait_outlives_cut_connections(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    spec = make(RELEASED)
    await begin(backend, spec)
    waiter = asyncio.create_task(backend.wait(spec))
    for _ in range(3):
        await asyncio.sleep(0.1)
        chaos.cut()
    await asyncio.sleep(0.1)
    release(spec)
    seen = await waiter
    assert (seen.exit_code, seen.cause) == (0, Cause.NONE)
    assert_every_line_once(spec)


async def test_wait_outlives_an_engine_that_is_away_while_the_sandbox_ends(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    spec = make(RELEASED)
    await begin(backend, spec)
    waiter = asyncio.create_task(backend.wait(spec))
    await asyncio.sleep(0.1)
    await chaos.down()
    release(spec)
    await asyncio.sleep(0.5)
    assert not waiter.done()
    await chaos.up()
    seen = await waiter
    assert (seen.exit_code, seen.cause) == (0, Cause.NONE)
    assert_every_line_once(spec)


async def test_wait_says_unavailable_when_the_engine_stays_away_and_can_be_called_again(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url, reconnect_s=0.2)
    await backend.open(instance)
    spec = make(RELEASED)
    await begin(backend, spec)
    await chaos.down()
    with pytest.raises(BackendUnavailable, match="socket"):
        await backend.wait(spec)
    with pytest.raises(BackendUnavailable):
        await backend.stop(spec.ref, 0.1)
    await chaos.up()
    assert (await backend.observe())[spec.ref.name].phase is Phase.RUNNING
    release(spec)
    assert (await backend.wait(spec)).exit_code == 0
    assert_every_line_once(spec)


async def test_kill_while_the_engine_was_away_is_called_lost_and_never_failed(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    spec = make(RELEASED)
    await begin(backend, spec)
    waiter = asyncio.create_task(backend.wait(spec))
    await chaos.down()
    direct = new_backend()
    await direct.open(instance)
    await direct.stop(spec.ref, 0.01)
    await chaos.up()
    assert (await waiter).cause is Cause.LOST


async def test_failure_of_its_own_while_the_engine_was_away_stays_its_own(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    spec = make(programs.WAITS_THEN_PRINTS)
    await begin(backend, spec)
    waiter = asyncio.create_task(backend.wait(spec))
    await chaos.down()
    release(spec)
    await asyncio.sleep(0.5)
    await chaos.up()
    seen = await waiter
    assert (seen.exit_code, seen.cause) == (3, Cause.NONE)


# --- the cold path


async def test_an_ordinary_run_makes_no_needless_round_trip(
    new_backend: Any, chaos: Any, make: MakeSpec, instance: str
) -> None:
    backend = new_backend(chaos.url)
    await backend.open(instance)
    await backend.probe()  # as every daemon does before it starts anything
    chaos.requests.clear()
    spec = make(programs.ORDINARY)
    await backend.prepare(spec)
    await backend.start(spec)
    await backend.wait(spec)
    await backend.remove(spec.ref)
    verbs = [
        line.split()[1].decode().split("?")[0].rsplit("/", 1)[1]
        for line in chaos.requests
        if line.startswith((b"GET ", b"POST ", b"DELETE "))
    ]
    lean = [verb for verb in verbs if verb != "version"]
    name = spec.ref.name
    assert lean == ["create", "json", "attach", "start", "wait", "logs", "json", name]
