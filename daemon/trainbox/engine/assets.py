"""Uploaded files: streamed into the blob store, found again by their owner, given up."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from trainbox.blobs import Blob, BlobStore
from trainbox.cancellation import whole
from trainbox.clock import now
from trainbox.engine.health import FreeSpaceFloor
from trainbox.ids import new_id
from trainbox.reserve import Reserve
from trainbox.store import Store
from trainbox.store.codec import encodable
from trainbox_sdk.assets import AssetView, NewAsset, filename_problem
from trainbox_sdk.documents import Act
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import FieldError, TooLarge, ValidationFailed

MAX_WORD = 128
MAX_DESCRIPTION = 4096


class Assets:
    """The files beside scripts.

    Args:
        store, blobs, reserve: where things are.
        floor: below it nothing is accepted.
    """

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        reserve: Reserve,
        floor: FreeSpaceFloor,
    ) -> None:
        self._store = store
        self._blobs = blobs
        self._reserve = reserve
        self._floor = floor

    async def create(
        self, who: Principal, new: NewAsset, chunks: AsyncIterator[bytes], acts: Sequence[Act]
    ) -> AssetView:
        """Store a file; nothing is left of one that breaks off.

        Raises:
            ValidationFailed: what is said of it, or no bytes.
            TooLarge: more than ``new.max_bytes``.
            StorageFull: no room.
        """
        _check(new)
        self._floor.require()
        try:
            blob = await self._blobs.put_stream(chunks, new.max_bytes)
        except TooLarge as error:
            raise TooLarge(
                f"{new.filename}: more than {new.max_bytes:,} bytes", code="asset_too_large"
            ) from error
        # From here to the row also for a caller that went away: the bytes are published.
        return await whole(self._file(who, new, blob, acts))

    async def delete(self, who: Principal, asset: AssetView, acts: Sequence[Act]) -> None:
        """Forget an asset, and its bytes where no job was submitted with them."""
        await self._reserve.freeing(lambda: self._delete(who, asset, acts))

    def path(self, asset: AssetView) -> Path:
        """Return where its bytes lie."""
        return self._blobs.path(asset.digest)

    async def _file(
        self, who: Principal, new: NewAsset, blob: Blob, acts: Sequence[Act]
    ) -> AssetView:
        view = AssetView(
            id=new_id("ast"),
            owner=who.id,
            filename=new.filename,
            kind=new.kind,
            group=new.group,
            description=new.description,
            digest=blob.digest,
            bytes=blob.bytes,
            created_at=now(),
        )
        try:
            _require_bytes(blob)
            await self._store.assets.insert(view, acts, who=who.actor)
        except BaseException:
            self._blobs.settle(blob.digest)
            await self._drop(blob.digest)
            raise
        self._blobs.settle(blob.digest)
        return view

    async def _drop(self, digest: str) -> None:
        """Delete what was published for nothing, unless another row has the same bytes."""
        moment = self._blobs.moment()
        if digest not in await self._store.trash.in_use():
            await self._blobs.sweep(digest, untouched_since=moment)

    async def _delete(self, who: Principal, asset: AssetView, acts: Sequence[Act]) -> None:
        moment = self._blobs.moment()
        freed = await self._store.assets.delete(asset.id, acts, who=who.actor)
        if freed is not None:
            await self._blobs.sweep(freed, untouched_since=moment)


def _check(new: NewAsset) -> None:
    problems = []
    if problem := filename_problem(new.filename):
        problems.append(FieldError(("filename",), problem))
    for name, text in (("kind", new.kind), ("group", new.group)):
        if len(text) > MAX_WORD:
            problems.append(FieldError((name,), f"is over {MAX_WORD} characters"))
    if len(new.description) > MAX_DESCRIPTION:
        problems.append(FieldError(("description",), f"is over {MAX_DESCRIPTION} characters"))
    for name, text in (("kind", new.kind), ("group", new.group), ("description", new.description)):
        if encodable(text) != text:
            problems.append(FieldError((name,), "is not text that UTF-8 can hold"))
    if problems:
        raise ValidationFailed(f"{problems[0].loc[0]}: {problems[0].msg}", errors=problems)


def _require_bytes(blob: Blob) -> None:
    if not blob.bytes:
        fault = FieldError(("file",), "is empty")
        raise ValidationFailed("the file is empty", code="empty_asset", errors=[fault])
