"""The daemon's side of a worker process: started clean, read within bounds, ended for sure."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from pathlib import Path

TAIL_BYTES = 4096
"""Kept of a worker's standard error."""

_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "LANG": "C.UTF-8",
    "HOME": "/nonexistent",
    "TZ": "UTC",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",
    # From 1.29 on, onnxruntime's Linux wheels report usage to their maker unless this is set before
    # they load (microsoft/onnxruntime#27379). Nothing leaves this machine.
    "ORT_DISABLE_TELEMETRY": "1",
}
"""All a worker sees of the environment: nothing of the daemon's, which may hold secrets."""


async def start(
    module: str,
    *,
    cwd: Path,
    stdin: int = DEVNULL,
    stdout: int = DEVNULL,
    fds: tuple[int, ...] = (),
) -> Process:
    """Start ``python -m module`` in a session of its own, with these descriptors and no others.

    ``-I`` ignores PYTHON* variables, the user's site folder and the current folder (``python
    --help``), so what runs is what is installed beside the daemon.

    Args:
        module: the program.
        cwd: its current folder.
        stdin: as for :func:`asyncio.create_subprocess_exec`.
        stdout: likewise; standard error is always a pipe, read by :func:`tail`.
        fds: descriptors it inherits under their numbers, which it finds in its arguments.
    """
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-I", "-B", "-m", module),
        *map(str, fds),
        cwd=cwd,
        env=_ENVIRONMENT,
        stdin=stdin,
        stdout=stdout,
        stderr=PIPE,
        pass_fds=fds,
        start_new_session=True,
    )


async def end(process: Process) -> int:
    """Kill a worker and all it started; return its exit code once it is dead and reaped."""
    # The session's id is the worker's: while it is not reaped, no other group can have it.
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    return await process.wait()


async def read_at_most(stream: asyncio.StreamReader, limit: int) -> bytes | None:
    """Read to the end of a stream; None if there is more than ``limit`` bytes."""
    read = bytearray()
    while chunk := await stream.read(65536):
        read += chunk
        if len(read) > limit:
            return None
    return bytes(read)


async def tail(stream: asyncio.StreamReader) -> str:
    """Read to the end of a stream and return its last lines; the worker is never blocked on it."""
    kept = b""
    while chunk := await stream.read(65536):
        kept = (kept + chunk)[-TAIL_BYTES:]
    return kept.decode("utf-8", errors="replace")


def death(code: int) -> str:
    """Say how a process ended."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
