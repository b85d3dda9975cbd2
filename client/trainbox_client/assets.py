"""Assets: files for scripts to find beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainbox_client.documents import Document, Page, quoted
from trainbox_client.errors import TrainboxError
from trainbox_client.transport import Request, Steps, Transport, awaiting, blocking

UPLOAD_S = 3600.0


class Asset(Document):
    """An uploaded file; its bytes never change."""

    shown = ("id", "filename", "kind", "bytes", "digest")


class AssetArea:
    """``client.assets``."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def _upload(
        self,
        file: str | os.PathLike[str] | bytes,
        *,
        kind: str = "other",
        filename: str = "",
        description: str = "",
    ) -> Steps[Asset]:
        """Store a file of at most 500 MiB; it is read into memory.

        Args:
            file: path, or bytes with a ``filename``.
            kind: ``script``, ``weights``, ``requirements``, ``config`` or ``other``.
            filename: what it will be called beside a script; the file's own by default.
            description: for people.

        Raises:
            Rejected: a name no file beside a script can have, or an empty file.
        """
        name, data = read_file(file, filename)
        params = {"filename": name, "kind": kind, "description": description or None}
        response = yield Request(
            "POST",
            "/v1/assets",
            params=params,
            content=data,
            headers={"Content-Type": "application/octet-stream"},
            read_s=UPLOAD_S,
        )
        return Asset(response.json())

    def _get(self, asset: str) -> Steps[Asset]:
        """Return one asset.

        Raises:
            NotFound: no such asset, or not yours.
        """
        response = yield Request("GET", f"/v1/assets/{quoted(asset)}")
        return Asset(response.json())

    def _list(
        self, *, kind: str | None = None, limit: int = 50, after: str | None = None
    ) -> Steps[Page]:
        """Return one page of assets, newest first."""
        params = {"kind": kind, "limit": limit, "after": after}
        response = yield Request("GET", "/v1/assets", params=params)
        document = response.json()
        page = Page(Asset(item) for item in document["items"])
        page.next = document["next"]
        return page

    def _read(self, asset: str) -> Steps[bytes]:
        """Return an asset's bytes."""
        path = f"/v1/assets/{quoted(asset)}/content"
        response = yield Request("GET", path, headers={"Accept": "*/*"})
        return response.content

    def _delete(self, asset: str) -> Steps[None]:
        """Forget an asset; jobs that were submitted with it keep its bytes."""
        yield Request("DELETE", f"/v1/assets/{quoted(asset)}")


class Assets(AssetArea):
    """Assets, blocking."""

    upload = blocking(AssetArea._upload)
    get = blocking(AssetArea._get)
    list = blocking(AssetArea._list)
    read = blocking(AssetArea._read)
    delete = blocking(AssetArea._delete)


class AsyncAssets(AssetArea):
    """Assets, awaited."""

    upload = awaiting(AssetArea._upload)
    get = awaiting(AssetArea._get)
    list = awaiting(AssetArea._list)
    read = awaiting(AssetArea._read)
    delete = awaiting(AssetArea._delete)


def used(asset: Mapping[str, Any], name: str = "") -> dict[str, str]:
    """Return how a job's parameters name an asset."""
    return {"asset": asset["id"], "name": name or asset["filename"], "kind": asset["kind"]}


def read_file(file: str | os.PathLike[str] | bytes, filename: str = "") -> tuple[str, bytes]:
    """Return a name and the bytes of a path, or of bytes with a name.

    Raises:
        TrainboxError: bytes without a name, or a file that cannot be read.
    """
    if isinstance(file, bytes):
        if not filename:
            raise TrainboxError("bytes have no name: pass filename='train.py'")
        return filename, file
    path = Path(file)
    try:
        return filename or path.name, path.read_bytes()
    except OSError as error:
        raise TrainboxError(f"cannot read {path}: {error.strerror}") from None
