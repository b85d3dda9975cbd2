"""Resumable uploads: bytes that survive a restart, then read like any other upload.

The row says how many bytes are on the disk for sure; the file may be longer after a crash and is
cut back to that. The file is made before its row and deleted after it, so that whatever a crash
leaves is a file without a row, which the next start removes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from trainbox.blobs import in_thread, no_room_is_storage_full
from trainbox.cancellation import whole
from trainbox.clock import now
from trainbox.datasets.filing import DatasetFiler, check
from trainbox.durable import sync_directory
from trainbox.ids import new_id
from trainbox.store import Store
from trainbox_sdk.errors import Conflict, NotFound, StorageFull, TooLarge, TrainboxError
from trainbox_sdk.uploads import NewDataset, UploadFailure, UploadView

log = logging.getLogger(__name__)

BLOCK = 1024**2
CHECKPOINT = 64 * 1024**2
"""Bytes between two notes of how far an upload is: what a crash may cost the sender."""
SWEEP_S = 60.0


class Uploads:
    """Takes resumable uploads; :meth:`start` before use, :meth:`close` after.

    Args:
        store: the rows.
        filer: makes the dataset once all bytes are here.
        folder: of its own, on a file system with room for uploads; made if absent.
        max_bytes: largest upload.
        expiry_s: seconds without a byte after which an upload is forgotten, and seconds that the
            fate of an ended one is remembered.
        wait_s: seconds that the last byte's request waits for the data to be read.
    """

    def __init__(
        self,
        store: Store,
        filer: DatasetFiler,
        folder: Path,
        *,
        max_bytes: int,
        expiry_s: float,
        wait_s: float = 10.0,
    ) -> None:
        self.max_bytes = max_bytes
        self._store = store
        self._filer = filer
        self._folder = folder
        self._expiry = timedelta(seconds=expiry_s)
        self._wait_s = wait_s
        self._receiving: dict[str, asyncio.Task[None]] = {}
        self._reading: dict[str, asyncio.Task[None]] = {}
        self._janitor: asyncio.Task[None] | None = None
        with no_room_is_storage_full(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    async def start(self) -> None:
        """Remove files of no upload and go on reading what was complete before the restart."""
        waiting = await self._store.uploads.in_state("receiving")
        complete = await self._store.uploads.in_state("ingesting")
        wanted = {upload.id for upload in (*waiting, *complete)}
        for path in self._folder.iterdir():
            if path.name not in wanted:
                path.unlink()
        for upload in complete:
            self._read_soon(upload)
        self._janitor = asyncio.create_task(self._run(), name="uploads")

    async def close(self) -> None:
        """Stop; what was being read is read again after the next start."""
        tasks = [*self._receiving.values(), *self._reading.values()]
        if self._janitor is not None:
            tasks.append(self._janitor)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                await self.expire()
            except (TrainboxError, OSError) as error:
                log.warning("old uploads stay for now", extra={"why": str(error)})

    async def expire(self) -> None:
        """Forget uploads whose time is over."""
        for upload in await self._store.uploads.overdue(now()):
            if upload.id not in self._receiving:
                await self._forget(upload.id, who="daemon")

    async def create(
        self, owner: str, spec: NewDataset, *, size: int, metadata_header: str
    ) -> UploadView:
        """Announce an upload.

        Raises:
            ValidationFailed: the name or the format.
            TooLarge: larger than uploads may be.
            StorageFull: no room for it now.
        """
        check(spec)
        if size > self.max_bytes:
            raise TooLarge(f"the upload is announced with {size:,} bytes, over {self.max_bytes:,}")
        if size > shutil.disk_usage(self._folder).free:
            raise StorageFull(f"there is no room for {size:,} bytes under {self._folder}")
        at = now()
        upload = UploadView(
            id=new_id("upl"),
            owner=owner,
            spec=spec,
            bytes=size,
            received=0,
            state="receiving" if size else "ingesting",
            metadata_header=metadata_header,
            dataset_id=None,
            replayed=False,
            failure=None,
            created_at=at,
            expires_at=at + self._expiry,
        )
        await in_thread(self._make_file, upload.id)
        await self._store.uploads.insert(upload)
        if not size:
            self._read_soon(upload)
        return upload

    async def get(self, upload_id: str) -> UploadView:
        """Return an upload.

        Raises:
            NotFound: none of that id, or its time is over.
        """
        found = await self._store.uploads.get(upload_id)
        if found is None or (found.state != "ingesting" and found.expires_at <= now()):
            raise NotFound(
                f"no upload {upload_id!r}", code="upload_not_found", hint="begin it anew"
            )
        return found

    async def settled(self, upload_id: str) -> UploadView:
        """Return an upload after ending a request that still sends to it.

        Its sender asks, so the connection is dead and only nobody has told us yet.
        """
        await self._end_receiving(upload_id)
        return await self.get(upload_id)

    async def append(self, upload_id: str, offset: int, body: AsyncIterator[bytes]) -> UploadView:
        """Take bytes from ``offset`` on; what arrived is kept also if the rest does not.

        Raises:
            NotFound: none of that id.
            Conflict: the offset is not where the upload stands, or it takes no more bytes.
            TooLarge: more bytes than were announced.
            StorageFull: no room.
        """
        upload = await self.settled(upload_id)
        if upload.state != "receiving" and not (upload.received == offset == upload.bytes):
            raise Conflict(f"the upload is {upload.state}", code="upload_ended")
        if offset != upload.received:
            raise Conflict(
                f"the upload stands at {upload.received}, not at {offset}",
                code="wrong_offset",
                hint="ask with HEAD where it stands and go on from there",
            )
        if upload.state == "receiving":
            await self._receive_alone(upload, body)
            upload = await self.get(upload_id)
        if upload.state == "ingesting":
            await self._wait_for_reading(upload)
        return await self.get(upload_id)

    async def terminate(self, upload_id: str, *, who: str) -> None:
        """Forget an upload and its bytes; a dataset made of it stays.

        Raises:
            NotFound: none of that id.
            Conflict: it is being read.
        """
        await self.settled(upload_id)
        if not await self._forget(upload_id, who=who):
            raise Conflict("the upload is being read", code="upload_ended")

    # -- receiving ----------------------------------------------------------------------------

    async def _receive_alone(self, upload: UploadView, body: AsyncIterator[bytes]) -> None:
        task = asyncio.ensure_future(self._receive(upload, body))
        self._receiving[upload.id] = task
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
            await whole(asyncio.wait([task]))
            if self._receiving.get(upload.id) is task:
                del self._receiving[upload.id]
        if task.cancelled():
            raise Conflict("another request took this upload over", code="upload_taken_over")
        task.result()

    async def _end_receiving(self, upload_id: str) -> None:
        task = self._receiving.get(upload_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _receive(self, upload: UploadView, body: AsyncIterator[bytes]) -> None:
        path = self._path(upload.id)
        try:
            fd = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise NotFound(
                f"the bytes of {upload.id} are gone", code="upload_not_found", hint="begin it anew"
            ) from None
        try:
            with no_room_is_storage_full(path.parent):
                os.ftruncate(fd, upload.received)
                os.lseek(fd, upload.received, os.SEEK_SET)
            await self._pour(upload, fd, body)
        finally:
            os.close(fd)

    async def _pour(self, upload: UploadView, fd: int, body: AsyncIterator[bytes]) -> None:
        """Write the body and note how far it came, also where it ends in an error."""
        at = noted = upload.received
        buffer = bytearray()
        try:
            async for chunk in body:
                if at + len(buffer) + len(chunk) > upload.bytes:
                    raise TooLarge(f"more than the announced {upload.bytes:,} bytes")
                buffer += chunk
                if len(buffer) >= BLOCK:
                    at += await in_thread(self._write, fd, bytes(buffer))
                    buffer.clear()
                if at - noted >= CHECKPOINT:
                    await self._note(upload.id, fd, at)
                    noted = at
        finally:
            await whole(self._finish(upload.id, fd, at, bytes(buffer)))

    async def _finish(self, upload_id: str, fd: int, at: int, rest: bytes) -> None:
        try:
            at += await in_thread(self._write, fd, rest)
        finally:
            await self._note(upload_id, fd, at)

    async def _note(self, upload_id: str, fd: int, at: int) -> None:
        with no_room_is_storage_full(self._folder):
            await in_thread(os.fsync, fd)
        await self._store.uploads.received(upload_id, at, now() + self._expiry)

    def _write(self, fd: int, data: bytes) -> int:
        with no_room_is_storage_full(self._folder):
            view = memoryview(data)
            while view:
                view = view[os.write(fd, view) :]
        return len(data)

    # -- reading ------------------------------------------------------------------------------

    async def _wait_for_reading(self, upload: UploadView) -> None:
        task = self._reading.get(upload.id) or self._read_soon(upload)
        await asyncio.wait([task], timeout=self._wait_s)

    def _read_soon(self, upload: UploadView) -> asyncio.Task[None]:
        task = asyncio.ensure_future(self._read(upload))
        self._reading[upload.id] = task
        task.add_done_callback(lambda done: self._has_read(upload.id, done))
        return task

    def _has_read(self, upload_id: str, task: asyncio.Task[None]) -> None:
        self._reading.pop(upload_id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            # Its row still says that it is to be read, which the next start does.
            log.error("an upload could not be read", extra={"upload": upload_id}, exc_info=error)

    async def _read(self, upload: UploadView) -> None:
        try:
            path = self._path(upload.id)
            await self._filer.file_upload(upload.owner, upload.spec, path, upload.id)
        except TrainboxError as error:
            await self._store.uploads.failed(upload.id, failure_of(error))
        except Exception:
            # A slip of ours must not leave its sender waiting for ever.
            log.exception("an upload could not be read", extra={"upload": upload.id})
            failure = UploadFailure("internal_error", "The daemon failed on this upload.")
            await self._store.uploads.failed(upload.id, failure)
        await in_thread(self._unlink, upload.id)

    # -- files --------------------------------------------------------------------------------

    async def _forget(self, upload_id: str, *, who: str) -> bool:
        gone = await self._store.uploads.remove(upload_id, who=who)
        if gone:
            await in_thread(self._unlink, upload_id)
        return gone

    def _path(self, upload_id: str) -> Path:
        return self._folder / upload_id

    def _make_file(self, upload_id: str) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with no_room_is_storage_full(self._folder):
            os.close(os.open(self._path(upload_id), flags, 0o600))
            sync_directory(self._folder)

    def _unlink(self, upload_id: str) -> None:
        with suppress(FileNotFoundError):
            self._path(upload_id).unlink()


def failure_of(error: TrainboxError) -> UploadFailure:
    """Return an error as an upload remembers it."""
    return UploadFailure(error.code, error.message, error.hint, error.errors, error.faults)
