"""Ingest: from a stream of bytes to a published, typed Parquet file, or to one clear error."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import stat
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from trainbox.blobs import Blob, BlobStore, no_room_is_storage_full
from trainbox.ingest import report
from trainbox.ingest.limits import IngestLimits
from trainbox.ingest.spool import spool
from trainbox.workers import launch
from trainbox.workers.ingest_request import RESULT, UPLOAD, Format, IngestRequest
from trainbox_sdk.artifacts import Column
from trainbox_sdk.errors import Unavailable, ValidationFailed

log = logging.getLogger(__name__)

PREFIX = "ingest-"
_WORKER = "trainbox.workers.ingest_worker"
_MAGIC = b"PAR1"

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


@dataclass(frozen=True)
class IngestedData:
    """A dataset's bytes and facts, ready for its row.

    Attributes:
        digest: ``sha256:<hex>`` of the Parquet file, which is in the blob store.
        bytes: its size.
        source_digest: ``sha256:<hex>`` of what was uploaded.
        warnings: what was read in a way that may surprise.
    """

    digest: str
    bytes: int
    rows: int
    columns: tuple[Column, ...]
    source_digest: str
    warnings: tuple[str, ...] = ()


class Ingest:
    """Takes uploads.

    Args:
        blobs: where the result is published.
        limits: of every upload.
        tmp: a folder of its own, on the file system of the state directory; made if absent. What an
            earlier, killed daemon left in it is removed.
    """

    def __init__(self, blobs: BlobStore, limits: IngestLimits, tmp: Path) -> None:
        self._blobs = blobs
        self._limits = limits
        self._tmp = tmp
        self._slots = asyncio.Semaphore(limits.workers)
        with no_room_is_storage_full(tmp):
            tmp.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in tmp.glob(PREFIX + "*"):
            shutil.rmtree(leftover, ignore_errors=True)

    async def ingest(
        self,
        body: AsyncIterator[bytes],
        *,
        format: Format,
    ) -> IngestedData:
        """Store an upload as typed Parquet; nothing remains of one that fails.

        Args:
            body: the bytes. What it raises passes through, after the clean-up.
            format: ``csv`` or ``parquet``.

        Raises:
            ValidationFailed: the data cannot be read; says line or row, column and rule.
            TooLarge: over a limit.
            StorageFull: no room.
            Unavailable: the worker was killed from outside, or took too long.
        """
        if format not in ("csv", "parquet"):
            raise ValidationFailed(f"format {format!r} is neither csv nor parquet")
        with no_room_is_storage_full(self._tmp):
            work = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._tmp))
        try:
            source_digest = await spool(body, work / UPLOAD, self._limits.upload_bytes)
            async with self._slots:
                answer = await self._read(work, format)
            blob = await self._publish(work / RESULT)
        finally:
            await _remove(work)
        return IngestedData(
            digest=blob.digest,
            bytes=blob.bytes,
            rows=answer.rows,
            columns=answer.profile,
            source_digest=source_digest,
            warnings=tuple(answer.warnings),
        )

    async def _read(self, work: Path, format: Format) -> report.Report:
        limits = self._limits
        request = IngestRequest(
            format=format,
            max_rows=limits.rows,
            max_columns=limits.columns,
            max_value_bytes=limits.value_bytes,
            max_record_bytes=limits.record_bytes,
            memory_bytes=limits.memory_bytes,
            cpu_s=limits.cpu_s,
            scratch_bytes=limits.scratch_bytes,
            threads=limits.threads,
        )
        try:
            async with asyncio.timeout(limits.wall_s):
                code, answer, errors = await _run(work, request)
        except TimeoutError as error:
            raise Unavailable(
                f"reading the upload took longer than {limits.wall_s:g} s",
                code="ingest_timeout",
                hint="try again when the machine is less busy, or upload fewer rows",
            ) from error
        return _judge(code, answer, errors, limits)

    async def _publish(self, path: Path) -> Blob:
        """Publish what the worker wrote, if it is one plain Parquet file."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise Unavailable("the ingest worker left no file", code="ingest_failed") from error
        try:
            facts = os.fstat(fd)
            plain = stat.S_ISREG(facts.st_mode) and facts.st_nlink == 1
            if not plain or os.pread(fd, 4, 0) != _MAGIC:
                raise Unavailable("the ingest worker left no Parquet file", code="ingest_failed")
            return await self._blobs.put_fd(fd, max_bytes=self._limits.result_bytes)
        finally:
            os.close(fd)


async def _run(work: Path, request: IngestRequest) -> tuple[int, bytes | None, str]:
    """Run the worker; return its exit code, its answer and the end of its standard error."""
    try:
        process = await launch.start(_WORKER, cwd=work, stdin=PIPE, stdout=PIPE)
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
            process.stdin.write(request.to_json())
            await process.stdin.drain()
        process.stdin.close()
        answer = await launch.read_at_most(process.stdout, report.MAX_BYTES)
        if answer is not None:
            await process.wait()
    finally:
        # Also on cancellation: nothing may write into the work folder once it is being removed.
        code = await asyncio.shield(launch.end(process))
        errors_read = asyncio.gather(errors, return_exceptions=True)
        await asyncio.shield(errors_read)
    return code, answer, errors.result()


def _judge(code: int, answer: bytes | None, errors: str, limits: IngestLimits) -> report.Report:
    found = report.read_report(answer) if code == 0 and answer is not None else None
    if found is not None and found.refused is not None:
        raise found.refused.error()
    if found is not None:
        return found
    log.warning("ingest worker ended with %s: %s", launch.death(code), errors)
    if code in _BROKEN_BY_DATA:
        raise ValidationFailed(
            f"reading the data broke the reader ({launch.death(code)}): the file is damaged, or"
            f" needs more than {limits.memory_bytes:,} bytes of memory or {limits.cpu_s} s of CPU",
            code="unreadable_data",
            hint="write the file again with another tool, or upload it in smaller parts",
        )
    raise Unavailable(
        f"the ingest worker failed ({launch.death(code)})",
        code="ingest_failed",
        hint="try again; the daemon's log has the details",
    )


async def _remove(work: Path) -> None:
    """Remove the work folder, also for a cancelled caller."""
    removal = asyncio.ensure_future(asyncio.to_thread(shutil.rmtree, work, ignore_errors=True))
    await asyncio.shield(removal)
