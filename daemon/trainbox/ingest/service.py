"""Ingest: from a stream of bytes to a published, typed Parquet file, or to one clear error."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainbox.blobs import Blob, BlobStore, no_room_is_storage_full
from trainbox.ingest import reader, report
from trainbox.ingest.limits import IngestLimits
from trainbox.ingest.spool import adopt, spool
from trainbox.workers.ingest_request import FORMATS, RESULT, UPLOAD, Format, IngestRequest
from trainbox.workers.target_request import TargetRequest
from trainbox_sdk.artifacts import Column, ColumnType
from trainbox_sdk.errors import TrainboxError, Unavailable, ValidationFailed
from trainbox_sdk.profiles import DatasetProfile, TargetProfile

log = logging.getLogger(__name__)

PREFIX = "ingest-"
_INGEST_WORKER = "trainbox.workers.ingest_worker"
_TARGET_WORKER = "trainbox.workers.target_worker"
_MAGIC = b"PAR1"


@dataclass(frozen=True)
class IngestedData:
    """A dataset's bytes and facts, ready for its row.

    Attributes:
        digest: ``sha256:<hex>`` of the Parquet file, which is in the blob store.
        bytes: its size.
        source_digest: ``sha256:<hex>`` of what was uploaded.
        profile: what is known of its columns, and more.
        warnings: what was read in a way that may surprise; those of the profile, and others, are
            in the profile too.
        read_s: seconds to parse, type and write it.
        profile_s: seconds to profile it.
    """

    digest: str
    bytes: int
    rows: int
    columns: tuple[Column, ...]
    source_digest: str
    profile: DatasetProfile
    warnings: tuple[str, ...] = ()
    read_s: float = 0.0
    profile_s: float = 0.0


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
        filename: str = "",
        types: Mapping[str, ColumnType] | None = None,
    ) -> IngestedData:
        """Store an upload as typed Parquet; nothing remains of one that fails.

        Args:
            body: the bytes. What it raises passes through, after the clean-up.
            format: one of ``FORMATS``. CSV and JSON lines may be gzip- or zstd-compressed.
            filename: the name the uploader gave, for what is said of faults.
            types: by column, what its values must be; a value that is not is a fault.

        Raises:
            ValidationFailed: the data cannot be read; its ``faults`` say row, line, column and
                rule.
            TooLarge: over a limit.
            StorageFull: no room.
            Unavailable: the worker was killed from outside, or took too long.
        """

        async def place(path: Path) -> str:
            return await spool(body, path, self._limits.upload_bytes)

        return await self._ingest(place, format, filename, types or {})

    async def ingest_file(
        self,
        source: Path,
        *,
        format: Format,
        filename: str = "",
        types: Mapping[str, ColumnType] | None = None,
    ) -> IngestedData:
        """Store a file of the state directory as typed Parquet; the file stays.

        It is linked into the worker's folder, not copied, so it must be one the worker may see and
        spoil: an upload that has arrived, never a blob.

        Raises:
            As :meth:`ingest`, and FileNotFoundError.
        """

        async def place(path: Path) -> str:
            return await asyncio.to_thread(adopt, source, path, self._limits.upload_bytes)

        return await self._ingest(place, format, filename, types or {})

    async def target_profile(self, digest: str, target: str) -> TargetProfile:
        """Look at a stored dataset for the sake of one column: classes, and columns that leak it.

        Args:
            digest: of its Parquet file.
            target: name of the column.

        Raises:
            NotFound: the bytes are not here.
            ValidationFailed: no such column.
            Unavailable: the worker was killed from outside, or took too long.
        """
        request = TargetRequest(
            path=str(self._blobs.path(digest)),
            target=target,
            memory_bytes=self._limits.memory_bytes,
            cpu_s=self._limits.cpu_s,
            threads=self._limits.threads,
        )
        work = self._work()
        try:
            async with self._slots:
                answer = await reader.ask(
                    _TARGET_WORKER,
                    work,
                    request.to_json(),
                    report.read_target_report,
                    self._limits,
                )
        finally:
            await _remove(work)
        return answer.profile

    async def _ingest(
        self,
        place: Callable[[Path], Awaitable[str]],
        format: Format,
        filename: str,
        types: Mapping[str, ColumnType],
    ) -> IngestedData:
        if format not in FORMATS:
            raise ValidationFailed(
                f"format {format!r} is unknown", hint=f"one of {', '.join(FORMATS)}"
            )
        work = self._work()
        try:
            source_digest = await place(work / UPLOAD)
            async with self._slots:
                answer = await self._read(work, format, types)
            blob = await self._publish(work / RESULT)
        except TrainboxError as error:
            raise report.in_file(error, filename) from error.__cause__
        finally:
            await _remove(work)
        profile = answer.profile
        log.info(
            "ingested %s rows of %s: read in %.2f s, profiled in %.2f s",
            answer.rows,
            format,
            answer.read_s,
            answer.profile_s,
        )
        return IngestedData(
            digest=blob.digest,
            bytes=blob.bytes,
            rows=answer.rows,
            columns=tuple(each.column for each in profile.columns),
            source_digest=source_digest,
            profile=profile,
            warnings=_surprises(profile),
            read_s=answer.read_s,
            profile_s=answer.profile_s,
        )

    def _work(self) -> Path:
        with no_room_is_storage_full(self._tmp):
            return Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._tmp))

    async def _read(
        self, work: Path, format: Format, types: Mapping[str, ColumnType]
    ) -> report.Report:
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
            max_unpacked_bytes=limits.unpacked_bytes,
            types=dict(types),
        )
        return await reader.ask(_INGEST_WORKER, work, request.to_json(), report.read_report, limits)

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


def _surprises(profile: DatasetProfile) -> tuple[str, ...]:
    """Return the warnings about how values were read, and about columns that hold none."""
    rules = ("all_missing", "leading_zeros", "mixed_types", "reading")
    return tuple(each.message for each in profile.warnings if each.rule in rules)


async def _remove(work: Path) -> None:
    """Remove the work folder, also for a cancelled caller."""
    removal = asyncio.ensure_future(asyncio.to_thread(shutil.rmtree, work, ignore_errors=True))
    await asyncio.shield(removal)
