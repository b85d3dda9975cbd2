"""Assets: files uploaded for scripts to find beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from trainbox_sdk.artifacts import ArtifactFile
from trainbox_sdk.assets import AssetView, NewAsset
from trainbox_sdk.calls.base import Page, Principal
from trainbox_sdk.documents import Act


class AssetCalls(Protocol):
    """What can be done with assets. Someone else's is not found."""

    async def create_asset(
        self,
        who: Principal,
        new: NewAsset,
        chunks: AsyncIterator[bytes],
        *,
        acts: Sequence[Act] = (),
    ) -> AssetView:
        """Store a file, streamed; nothing is left of one that breaks off.

        Args:
            who: its owner.
            new: what is said of it.
            chunks: its bytes.
            acts: lines for the audit log, beside ``asset.create``; an empty ``object`` becomes
                the asset's id.

        Raises:
            ValidationFailed: a filename that cannot be, or no bytes.
            TooLarge: more than ``new.max_bytes``.
            StorageFull: no room.
        """

    async def asset(self, who: Principal, asset_id: str) -> AssetView:
        """Return one asset."""

    async def assets(
        self,
        who: Principal,
        *,
        group: str | None = None,
        kind: str | None = None,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[AssetView]:
        """List assets, newest first."""

    async def asset_file(self, who: Principal, asset_id: str) -> ArtifactFile:
        """Return an asset's file on this host."""

    async def delete_asset(
        self, who: Principal, asset_id: str, *, acts: Sequence[Act] = ()
    ) -> None:
        """Forget an asset; jobs that were submitted with it keep its bytes."""
