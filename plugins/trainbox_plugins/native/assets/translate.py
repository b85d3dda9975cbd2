"""Between the words of ``/v1/assets`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.assets import wire
from trainbox_sdk.assets import AssetView, NewAsset


def new(asked: wire.UploadQuery) -> NewAsset:
    """Return what an upload's query says of its file."""
    return NewAsset(asked.filename, asked.kind, description=asked.description)


def asset(view: AssetView) -> wire.AssetOut:
    """Return an asset as ``/v1`` says it."""
    return {
        "id": view.id,
        "filename": view.filename,
        "kind": view.kind,
        "description": view.description,
        "digest": view.digest,
        "bytes": view.bytes,
        "owner": view.owner,
        "created_at": view.created_at,
    }
