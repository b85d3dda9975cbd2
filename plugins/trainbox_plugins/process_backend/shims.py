"""Start a shim, wait for one, signal one: the only place that knows it is a process."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import selectors
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import trainbox_guest
from trainbox_guest.shim import notes
from trainbox_sdk.errors import BackendUnavailable

if TYPE_CHECKING:
    from trainbox_plugins.process_backend.index import Sandbox

_BOOT = "import sys;sys.path.insert(0,sys.argv.pop(1));from trainbox_guest.shim import main;main()"
_ROOT = str(Path(trainbox_guest.__file__).resolve().parents[1])
_POLL_S = 0.05
SHIM_LOG = "shim.log"
"""Standard error of the shim itself; empty unless it has a fault."""


def start(sandbox: Sandbox, deadline_s: float) -> None:
    """Start a sandbox's shim unless it has one or had one; returns when the step runs or failed.

    The lock is taken here and inherited, so there is no instant in which a second start, or a
    restarted daemon, could take the sandbox for one that never ran.

    Raises:
        BackendUnavailable: no word from the shim in time.
    """
    lock = os.open(sandbox.state / notes.LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _taken(lock, sandbox):
            return  # it runs
        if notes.read(str(sandbox.state), notes.RUNNING) is None:
            _spawn(sandbox.state, lock, deadline_s)
    finally:
        os.close(lock)


def _taken(lock: int, sandbox: Sandbox) -> bool:
    """Take the lock; False where a shim has it. One who only looks holds it for an instant."""
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if sandbox.alive():
                return False
        else:
            return True


def _spawn(state: Path, lock: int, deadline_s: float) -> None:
    ready, ready_end = os.pipe()
    interpreter = getattr(sys, "_base_executable", None) or sys.executable
    try:
        with (state / SHIM_LOG).open("ab") as log:
            process = subprocess.Popen(
                [
                    interpreter,
                    "-I",
                    "-S",
                    "-c",
                    _BOOT,
                    _ROOT,
                    str(state),
                    str(lock),
                    str(ready_end),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(lock, ready_end),
                start_new_session=True,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
                cwd="/",
            )
        os.close(ready_end)
        ready_end = -1
        process.wait()  # it forks and leaves at once
        if not _readable_within(ready, deadline_s):
            raise BackendUnavailable(f"the step's watcher did not start within {deadline_s:g} s")
        if notes.read(str(state), notes.RUNNING) is None:
            said = (state / SHIM_LOG).read_text(encoding="utf-8", errors="replace").strip()
            raise BackendUnavailable(f"the step's watcher could not start: {said[-300:]}")
    except OSError as error:
        raise BackendUnavailable(f"the step's watcher could not start: {error}") from error
    finally:
        os.close(ready)
        if ready_end >= 0:
            os.close(ready_end)


def _readable_within(descriptor: int, limit_s: float) -> bool:
    """Wait for a descriptor; select(2) would refuse one above 1023, and a daemon may have many."""
    with selectors.DefaultSelector() as selector:
        selector.register(descriptor, selectors.EVENT_READ)
        return bool(selector.select(limit_s))


async def ended(sandbox: Sandbox) -> None:
    """Return once the sandbox's shim is gone; a sandbox that was never started is waited for."""
    while sandbox.alive() or _never_started(sandbox):
        pid = sandbox.shim_pid()
        if pid is None or not await _process_ended(pid, sandbox):
            await asyncio.sleep(_POLL_S)


def _never_started(sandbox: Sandbox) -> bool:
    return sandbox.home.exists() and notes.read(str(sandbox.state), notes.RUNNING) is None


async def _process_ended(pid: int, sandbox: Sandbox) -> bool:
    """Sleep until a process ends; False where that cannot be told by its descriptor."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:  # gone already, or a kernel before 5.3
        return False
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    try:
        # Held after the open: then the descriptor is the shim's and no later process's.
        if not sandbox.alive():
            return False
        loop.add_reader(descriptor, gone.set)
        await gone.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
    return True


async def stop(sandbox: Sandbox, grace_s: float, patience_s: float = 10.0) -> None:
    """Have the shim end its step; returns when both are dead.

    Args:
        sandbox: one that may be dead already.
        grace_s: between SIGTERM and SIGKILL of the step.
        patience_s: on top of the grace before the shim itself is killed, which kills all below it.
    """
    while sandbox.alive() and sandbox.shim_pid() is None:
        await asyncio.sleep(_POLL_S)  # its signal handlers come before its first note
    if not sandbox.alive():
        return
    notes.write(str(sandbox.state), notes.STOP, {"grace_s": grace_s})
    _signal(sandbox, signal.SIGTERM)
    try:
        await asyncio.wait_for(ended(sandbox), grace_s + patience_s)
    except TimeoutError:
        _signal(sandbox, signal.SIGKILL)
        await ended(sandbox)


def _signal(sandbox: Sandbox, number: signal.Signals) -> None:
    pid = sandbox.shim_pid()
    if pid is not None and sandbox.alive():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
