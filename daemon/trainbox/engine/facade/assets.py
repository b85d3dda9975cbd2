"""Uploaded files, as surfaces see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.artifacts import ArtifactFile, ArtifactView
from trainbox_sdk.assets import AssetView, NewAsset
from trainbox_sdk.documents import Act
from trainbox_sdk.engine import Page, Principal


class AssetDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.assets.AssetCalls`."""

    async def create_asset(
        self,
        who: Principal,
        new: NewAsset,
        chunks: AsyncIterator[bytes],
        *,
        acts: Sequence[Act] = (),
    ) -> AssetView:
        """Store a file, streamed."""
        self._r.access.require(who, "submit")
        return await self._r.assets.create(who, new, chunks, acts)

    async def asset(self, who: Principal, asset_id: str) -> AssetView:
        """Return one asset."""
        return await self._r.access.asset(who, asset_id)

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
        self._r.access.require(who, "read")
        owner = self._r.access.owner_filter(who)
        return await self._r.store.assets.list(
            owner=owner, group=group, kind=kind, limit=limit, after=after
        )

    async def asset_file(self, who: Principal, asset_id: str) -> ArtifactFile:
        """Return an asset's file."""
        found = await self._r.access.asset(who, asset_id)
        view = ArtifactView(
            id=found.id,
            job_id="",
            step="",
            name=found.filename,
            kind=found.kind,
            digest=found.digest,
            bytes=found.bytes,
            media_type="application/octet-stream",
            created_at=found.created_at,
        )
        return ArtifactFile(view, self._r.assets.path(found))

    async def delete_asset(
        self, who: Principal, asset_id: str, *, acts: Sequence[Act] = ()
    ) -> None:
        """Forget an asset."""
        found = await self._r.access.asset(who, asset_id, "delete")
        await self._r.assets.delete(who, found, acts)
