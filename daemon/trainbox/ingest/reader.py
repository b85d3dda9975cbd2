"""One run of a worker that reads data: started, listened to, ended, and its end explained."""

from __future__ import annotations

import asyncio
import logging
import signal
from asyncio.subprocess import PIPE
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from trainbox.ingest.limits import IngestLimits
from trainbox.ingest.report import MAX_BYTES, Answer
from trainbox.workers import launch
from trainbox_sdk.errors import Unavailable, ValidationFailed

log = logging.getLogger(__name__)

A = TypeVar("A", bound=Answer)

_BROKEN_BY_DATA = frozenset(
    -number
    for number in (
        signal.SIGABRT,
        signal.SIGSEGV,
        signal.SIGBUS,
        signal.SIGILL,
        signal.SIGFPE,
        signal.SIGXFSZ,
        signal.SIGXCPU,
    )
)
"""Deaths a file can cause. SIGKILL is not among them: that is the host or an admin."""


async def ask(
    module: str,
    work: Path,
    request: bytes,
    read: Callable[[bytes], A | None],
    limits: IngestLimits,
) -> A:
    """Run a worker in a folder of its own and return its checked answer.

    Args:
        module: the worker.
        work: its current folder.
        request: for its standard input.
        read: checks what it answers.
        limits: of time, and for what is said of memory.

    Raises:
        ValidationFailed, TooLarge, StorageFull: the worker refused the data, or the data broke it.
        Unavailable: the worker was killed from outside, or took too long.
    """
    try:
        async with asyncio.timeout(limits.wall_s):
            code, answer, errors = await _run(module, work, request)
    except TimeoutError as error:
        raise Unavailable(
            f"reading the upload took longer than {limits.wall_s:g} s",
            code="ingest_timeout",
            hint="try again when the machine is less busy, or upload fewer rows",
        ) from error
    found = read(answer) if code == 0 and answer is not None else None
    if found is None:
        raise _explain(code, errors, limits)
    if found.refused is not None:
        raise found.refused.error()
    return found


async def _run(module: str, work: Path, request: bytes) -> tuple[int, bytes | None, str]:
    """Run the worker; return its exit code, its answer and the end of its standard error."""
    try:
        process = await launch.start(module, cwd=work, stdin=PIPE, stdout=PIPE)
    except OSError as error:
        raise Unavailable(
            f"the ingest worker cannot be started: {error}", code="ingest_failed"
        ) from error
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(launch.tail(process.stderr))
    try:
        with suppress(BrokenPipeError, ConnectionResetError):
            process.stdin.write(request)
            await process.stdin.drain()
        process.stdin.close()
        answer = await launch.read_at_most(process.stdout, MAX_BYTES)
        if answer is not None:
            await process.wait()
    finally:
        # Also on cancellation: nothing may write into the work folder once it is being removed.
        code = await asyncio.shield(launch.end(process))
        errors_read = asyncio.gather(errors, return_exceptions=True)
        await asyncio.shield(errors_read)
    return code, answer, errors.result()


def _explain(code: int, errors: str, limits: IngestLimits) -> Exception:
    log.warning("ingest worker ended with %s: %s", launch.death(code), errors)
    if code in _BROKEN_BY_DATA:
        return ValidationFailed(
            f"reading the data broke the reader ({launch.death(code)}): the file is damaged, or"
            f" needs more than {limits.memory_bytes:,} bytes of memory or {limits.cpu_s} s of CPU",
            code="unreadable_data",
            hint="write the file again with another tool, or upload it in smaller parts",
        )
    return Unavailable(
        f"the ingest worker failed ({launch.death(code)})",
        code="ingest_failed",
        hint="try again; the daemon's log has the details",
    )
