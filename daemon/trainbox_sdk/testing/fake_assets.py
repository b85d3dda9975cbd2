"""The fake engine's part of :mod:`trainbox_sdk.calls`: assets."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from trainbox_sdk.artifacts import ArtifactFile, ArtifactView
from trainbox_sdk.assets import AssetView, NewAsset, filename_problem
from trainbox_sdk.documents import Act
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import FieldError, NotFound, TooLarge, ValidationFailed
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs


class FakeAssetCalls(FakeJobs):
    """By the same contract; the bytes lie in the fake's own folder."""

    async def create_asset(
        self,
        who: Principal,
        new: NewAsset,
        chunks: AsyncIterator[bytes],
        *,
        acts: Sequence[Act] = (),
    ) -> AssetView:
        """Store a file."""
        self._enter("create_asset")
        if problem := filename_problem(new.filename):
            fault = FieldError(("filename",), problem)
            raise ValidationFailed(f"filename: {problem}", errors=[fault])
        data = b""
        async for chunk in chunks:
            data += chunk
            if len(data) > new.max_bytes:
                raise TooLarge(f"more than {new.max_bytes} bytes")
        if not data:
            raise ValidationFailed("the file is empty", code="empty_asset")
        view = AssetView(
            id=self._id("ast"),
            owner=who.id,
            filename=new.filename,
            kind=new.kind,
            group=new.group,
            description=new.description,
            digest=f"sha256:{hashlib.sha256(data).hexdigest()}",
            bytes=len(data),
            created_at=fake_data.now(),
        )
        self._asset_path(view).write_bytes(data)
        self._assets[view.id] = view
        acts = [Act("asset.create", view.id, new.filename), *acts]
        self._note(who.actor, acts, empty=view.id, token_id=who.token_id)
        return view

    async def asset(self, who: Principal, asset_id: str) -> AssetView:
        """Return one asset."""
        self._enter("asset")
        found = self._assets.get(asset_id)
        if found is None or found.owner != who.id:
            raise NotFound(f"no asset {asset_id!r}", code="asset_not_found")
        return found

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
        self._enter("assets")
        found = [
            view
            for view in self._assets.values()
            if view.owner == who.id and group in (None, view.group) and kind in (None, view.kind)
        ]
        return fake_data.page(found, limit, after)

    async def asset_file(self, who: Principal, asset_id: str) -> ArtifactFile:
        """Return an asset's file."""
        view = await self.asset(who, asset_id)
        artifact = ArtifactView(
            id=view.id,
            job_id="",
            step="",
            name=view.filename,
            kind=view.kind,
            digest=view.digest,
            bytes=view.bytes,
            media_type="application/octet-stream",
            created_at=view.created_at,
        )
        return ArtifactFile(artifact, self._asset_path(view))

    async def delete_asset(
        self, who: Principal, asset_id: str, *, acts: Sequence[Act] = ()
    ) -> None:
        """Forget an asset."""
        self._enter("delete_asset")
        view = await self.asset(who, asset_id)
        del self._assets[view.id]
        acts = [Act("asset.delete", view.id, view.filename), *acts]
        self._note(who.actor, acts, empty=view.id, token_id=who.token_id)

    def _asset_path(self, view: AssetView) -> Path:
        return self._folder / f"asset-{view.digest.removeprefix('sha256:')}"
