"""Hosts that give less: no namespaces, no root. The shim is the real one, told to do without."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import trainbox_guest
from trainbox_guest import confine
from trainbox_guest.shim import notes
from trainbox_plugins.process_backend import interpreters, shims
from trainbox_plugins.process_backend.index import Index, Sandbox
from trainbox_sdk.errors import BackendUnavailable
from trainbox_sdk.backends import Cause, Observation, Phase, SandboxRef

MIB = 1024**2
WITHOUT_NAMESPACES = (confine.LIMITS, confine.PRIVILEGES, confine.LANDLOCK, confine.SYSCALLS)
REF = SandboxRef("test", "job", "attempt")


def task(folder: Path, code: str, *argv: str, layers: tuple[str, ...]) -> notes.Task:
    python = interpreters.ask(sys.executable)
    assert python is not None
    (folder / "out").mkdir(exist_ok=True)
    policy = confine.Policy(read=python.roots, write=(str(folder / "out"),), layers=layers)
    return notes.Task(
        argv=[python.executable, "-I", "-S", "-c", code, *argv],
        env={"LANG": "C.UTF-8", "OUT": str(folder / "out")},
        cwd=str(folder / "out"),
        policy=policy,
        log=str(folder / "log"),
        watched=[str(folder / "out")],
        memory_bytes=128 * MIB,
        pids=64,
        output_bytes=8 * MIB,
        output_entries=1000,
        log_bytes=64 * 1024,
        flood_bytes=8 * MIB,
        cpus=1.0,
        deadline_at=time.time() + 60,
        grace_s=0.5,
    )


def place(folder: Path, told: notes.Task) -> Sandbox:
    (folder / "state").mkdir()
    sandbox = Index(folder / "index", "test").put(REF, folder / "state")
    notes.write(str(sandbox.state), notes.TASK, told)
    return sandbox


async def finish(sandbox: Sandbox) -> Observation:
    async with asyncio.timeout(30):
        await shims.ended(sandbox)
    return sandbox.observe()


async def run(folder: Path, told: notes.Task) -> Observation:
    sandbox = place(folder, told)
    await asyncio.to_thread(shims.start, sandbox, 30.0)
    return await finish(sandbox)


async def test_without_namespaces_landlock_and_seccomp_still_hold(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    code = """
import os, socket, sys
found = []
def attempt(name, action):
    try: action()
    except OSError: return
    found.append(name)
attempt("read", lambda: open(sys.argv[1]))
attempt("write", lambda: open(sys.argv[1] + ".planted", "w"))
attempt("inet", lambda: socket.create_connection(("127.0.0.1", int(sys.argv[2])), 2))
attempt("udp", lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
attempt("abstract", lambda: socket.socket(socket.AF_UNIX).connect("\\0" + sys.argv[3]))
attempt("setuid_file", lambda: os.chmod(os.path.join(os.environ["OUT"], "x"), 0o4755))
print(" ".join(found))
"""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.socket(socket.AF_UNIX) as abstract,
    ):
        name = f"trainbox-test-{os.getpid()}"
        abstract.bind("\0" + name)
        abstract.listen()
        port = str(listener.getsockname()[1])
        told = task(tmp_path, code, str(secret), port, name, layers=WITHOUT_NAMESPACES)
        seen = await run(tmp_path, told)
    assert seen.exit_code == 0, (tmp_path / "log").read_text()
    assert (tmp_path / "log").read_text().split() == []


async def test_without_a_pid_namespace_survivors_are_still_hunted_down(tmp_path: Path) -> None:
    code = """
import os, time
beat = os.path.join(os.environ["OUT"], "beat")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            with open(beat, "a") as file: file.write("x")
            time.sleep(0.02)
    os._exit(0)
os.wait()
while not os.path.exists(beat):
    time.sleep(0.01)
"""
    seen = await run(tmp_path, task(tmp_path, code, layers=WITHOUT_NAMESPACES))
    assert (seen.phase, seen.exit_code) == (Phase.EXITED, 0)
    size = (tmp_path / "out/beat").stat().st_size
    await asyncio.sleep(0.2)
    assert (tmp_path / "out/beat").stat().st_size == size


async def test_without_a_pid_namespace_stop_kills_what_ignores_it(tmp_path: Path) -> None:
    code = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:
    os.setsid()
open(os.path.join(os.environ["OUT"], str(os.getpid())), "w").close()
time.sleep(600)
"""
    sandbox = place(tmp_path, task(tmp_path, code, layers=WITHOUT_NAMESPACES))
    await asyncio.to_thread(shims.start, sandbox, 30.0)
    async with asyncio.timeout(30):
        while len(pids := [int(path.name) for path in (tmp_path / "out").iterdir()]) < 2:
            await asyncio.sleep(0.01)
        await shims.stop(sandbox, 0.2)
    assert sandbox.observe().exit_code == 128 + signal.SIGKILL
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_a_step_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    told = task(tmp_path, "", layers=confine.LAYERS)
    seen = await run(tmp_path, replace(told, argv=["/nonexistent/python"]))
    assert (seen.phase, seen.exit_code, seen.cause) == (Phase.EXITED, None, Cause.START_FAILED)
    assert "/nonexistent/python" in seen.detail or "No such file" in seen.detail


async def test_a_required_layer_that_is_missing_stops_the_start(tmp_path: Path) -> None:
    told = task(tmp_path, "print('ran')", layers=WITHOUT_NAMESPACES)
    policy = replace(told.policy, require=(confine.NETWORK,))
    seen = await run(tmp_path, replace(told, policy=policy))
    assert seen.cause is Cause.START_FAILED
    assert "network" in seen.detail
    assert "ran" not in (tmp_path / "log").read_text()


async def test_a_broken_task_note_is_a_failed_start_not_a_hang(tmp_path: Path) -> None:
    sandbox = place(tmp_path, task(tmp_path, "", layers=confine.LAYERS))
    (sandbox.state / notes.TASK).write_text("{")
    with pytest.raises(BackendUnavailable, match=r"FileNotFoundError: no task\.json"):
        await asyncio.to_thread(shims.start, sandbox, 30.0)
    assert not sandbox.alive()


async def test_a_log_that_takes_no_more_does_not_end_the_step(tmp_path: Path) -> None:
    told = task(tmp_path, "print('x' * 10_000, flush=True)", layers=WITHOUT_NAMESPACES)
    seen = await run(tmp_path, replace(told, log="/dev/full"))
    assert (seen.exit_code, seen.cause) == (0, Cause.NONE)
    assert "log is cut off" in seen.detail


async def test_a_fault_of_the_watcher_is_lost_and_never_the_steps_own(tmp_path: Path) -> None:
    told = task(tmp_path, "import time; time.sleep(30)", layers=WITHOUT_NAMESPACES)
    seen = await run(tmp_path, replace(told, flood_bytes="not a number"))  # type: ignore[arg-type]
    assert (seen.phase, seen.exit_code, seen.cause) == (Phase.EXITED, None, Cause.LOST)
    assert "the shim failed: TypeError" in seen.detail


@pytest.mark.parametrize(
    "note", [{}, {"cause": "exit.json"}, {"exit_code": 0, "cause": [], "detail": ""}]
)
def test_an_exit_note_nobody_can_read_is_lost_and_hides_no_other_sandbox(
    tmp_path: Path, note: dict[str, object]
) -> None:
    sandbox = place(tmp_path, task(tmp_path, "", layers=confine.LAYERS))
    notes.write(str(sandbox.state), notes.EXIT, note)
    assert sandbox.observe().cause is Cause.LOST


async def test_a_start_is_not_put_off_by_one_who_looks(tmp_path: Path) -> None:
    sandbox = place(tmp_path, task(tmp_path, "", layers=WITHOUT_NAMESPACES))
    with (sandbox.state / notes.LOCK).open("w") as look:
        fcntl.flock(look, fcntl.LOCK_SH)
        start = asyncio.create_task(asyncio.to_thread(shims.start, sandbox, 30.0))
        await asyncio.sleep(0.05)
        assert not start.done()
    await start
    assert (await finish(sandbox)).exit_code == 0


async def test_a_daemon_with_a_thousand_open_files_still_starts(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(2048, before[0]), before[1]))
    try:
        with contextlib.ExitStack() as stack:
            for _ in range(1100):
                stack.enter_context(open(os.devnull))
            assert (
                await run(tmp_path, task(tmp_path, "", layers=WITHOUT_NAMESPACES))
            ).exit_code == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user reaches: pytest closes its own to others at any session's start."""
    folder = Path(tempfile.mkdtemp(prefix="trainbox-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def system_python() -> str:
    found = interpreters.ask("/usr/bin/python3")
    assert found is not None, "this test needs the distribution's Python, which any user can start"
    return found.executable


MASKED = "mount -t tmpfs none /proc/sys && exec"
"""As in a container, or a hardened service: part of /proc is hidden, so no fresh one is granted."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the unprivileged user")
@pytest.mark.parametrize(
    ("before", "alone"), [("exec", True), (MASKED, False)], ids=["plain", "masked"]
)
def test_an_unprivileged_daemon_confines_through_a_user_namespace(
    open_folder: Path, before: str, alone: bool
) -> None:
    """The same shim, started by uid 65534 with a Python that such a user can reach."""
    tmp_path = open_folder
    python = system_python()
    package = Path(trainbox_guest.__file__).parent
    shutil.copytree(
        package, tmp_path / "lib/trainbox_guest", ignore=shutil.ignore_patterns("__pycache__")
    )
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "secret").chmod(0o644)
    code = """
import json, os, sys
def works(action):
    try: action()
    except OSError: return False
    return True
print(json.dumps({
    "read": works(lambda: open(sys.argv[1])),
    "write": works(lambda: open("/var/tmp/planted", "w")),
    "own": works(lambda: open(os.path.join(os.environ["OUT"], "x"), "w")),
    "tmp": works(lambda: open("/tmp/x", "w")),
    "alone": len([name for name in os.listdir("/proc") if name.isdigit()]) == 2,
    "statm": works(lambda: open("/proc/self/statm")),
    "signal": works(lambda: os.kill(int(sys.argv[2]), 0)),
    "uid": os.getuid(),
}))
"""
    told = task(tmp_path, code, str(tmp_path / "secret"), str(os.getpid()), layers=confine.LAYERS)
    roots = interpreters.ask(python)
    assert roots is not None
    policy = replace(told.policy, read=roots.roots)
    told = replace(told, argv=[python, *told.argv[1:]], policy=policy)
    for name in ("state", "log"):
        (tmp_path / name).mkdir() if name == "state" else (tmp_path / name).touch()
    (tmp_path / "state" / notes.TASK).write_text(json.dumps(asdict(told)))
    for path in (
        tmp_path / "state",
        tmp_path / "log",
        tmp_path / "out",
        tmp_path / "state/task.json",
    ):
        os.chown(path, 65534, 65534)
    boot = "import sys;sys.path.insert(0,sys.argv[1]);from trainbox_guest.shim.watch import Watch;"
    boot += "import os;Watch(sys.argv[2],os.open('/dev/null',os.O_RDONLY)).run()"
    lib = str(tmp_path / "lib")
    become = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    command = [*become, python, "-I", "-S", "-c", boot, lib, str(tmp_path / "state")]
    outer = ["unshare", "--mount", "sh", "-c", f'{before} "$@"', "sh"]
    subprocess.run([*outer, *command], check=True, timeout=60, cwd="/")
    ended = notes.read(str(tmp_path / "state"), notes.EXIT)
    confined = notes.read(str(tmp_path / "state"), notes.CONFINED)
    assert ended is not None
    assert ended["exit_code"] == 0, (ended, (tmp_path / "log").read_text())
    assert confined is not None
    assert set(confined["applied"]) >= set(confine.LAYERS), confined
    said = json.loads((tmp_path / "log").read_text())
    assert said == {
        "read": False,
        "write": False,
        "own": True,
        "tmp": True,
        "alone": alone,
        "statm": True,
        "signal": False,
        "uid": 65534,
    }
