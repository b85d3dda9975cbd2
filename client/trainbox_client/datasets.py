"""Datasets: upload from a path, bytes, a file or a data frame; find; look at."""

from __future__ import annotations

import base64
import os
import secrets
from typing import Any

from trainbox_client.documents import Dataset, Document, Page, quoted
from trainbox_client.errors import Rejected, Unreachable
from trainbox_client.sources import Source, open_source
from trainbox_client.transport import Request, Steps, Transport, awaiting, blocking

WHOLE_BYTES = 16 * 1024 * 1024
"""Up to this size data is sent in one request; above it in pieces that can be sent again."""
PIECE_BYTES = 8 * 1024 * 1024
READ_S = 3600.0
"""Longest wait for the daemon to read what it was sent; there may be a queue before it."""
TRIES = 20
LONGEST_PAUSE_S = 2.0
HTTP_UNPROCESSABLE = 422
TUS = {"Tus-Resumable": "1.0.0"}


class DatasetArea:
    """``client.datasets``; ``dataset`` is an id, a name or ``name:version``."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def _upload(
        self,
        data: Any,
        *,
        name: str | None = None,
        format: str | None = None,
    ) -> Steps[Dataset]:
        """Store data; large data goes in pieces and survives a broken connection.

        Args:
            data: path, bytes, seekable binary file, or a data frame (pandas, polars, pyarrow).
            name: of the dataset; the same name again makes its next version.
            format: ``csv``, ``jsonl``, ``parquet`` or ``arrow``; by the file's suffix by default.

        Raises:
            Rejected: the data cannot be read; ``errors`` names row, column and rule.
        """
        source = open_source(data, name, format)
        try:
            if source.size <= WHOLE_BYTES:
                return (yield from _whole(source))
            return (yield from _pieces(source))
        finally:
            source.close()

    def _import_path(
        self, path: str | os.PathLike[str], *, name: str | None = None, format: str | None = None
    ) -> Steps[Dataset]:
        """Store a file that lies on the daemon's host, under one of its import roots."""
        body = {"path": os.fspath(path), "name": name, "format": format}
        body = {key: value for key, value in body.items() if value is not None}
        response = yield Request("POST", "/v1/datasets/import", json=body, read_s=READ_S)
        return Dataset(response.json())

    def _get(self, dataset: str) -> Steps[Dataset]:
        """Return one dataset.

        Raises:
            NotFound: no such dataset, or not yours.
        """
        response = yield Request("GET", f"/v1/datasets/{quoted(dataset)}")
        return Dataset(response.json())

    def _list(self, /, *, limit: int = 50, after: str | None = None, **filters: Any) -> Steps[Page]:
        """Return one page of datasets, newest first."""
        params = {"limit": limit, "after": after, **filters}
        response = yield Request("GET", "/v1/datasets", params=params)
        document = response.json()
        page = Page(Dataset(item) for item in document["items"])
        page.next = document["next"]
        return page

    def _profile(self, dataset: str, *, target: str | None = None) -> Steps[Document]:
        """Return types, missing values, ranges and warnings; with a target also leakage."""
        path = f"/v1/datasets/{quoted(dataset)}/profile"
        response = yield Request("GET", path, params={"target": target})
        return Document(response.json())

    def _preview(self, dataset: str, *, rows: int = 10) -> Steps[list[dict[str, Any]]]:
        """Return the first rows, each a mapping of column names."""
        path = f"/v1/datasets/{quoted(dataset)}/preview"
        response = yield Request("GET", path, params={"rows": rows})
        document = response.json()
        return [dict(zip(document["columns"], row, strict=True)) for row in document["rows"]]

    def _delete(self, dataset: str) -> Steps[Document]:
        """Put a dataset into the trash."""
        response = yield Request("DELETE", f"/v1/datasets/{quoted(dataset)}")
        return Document(response.json())


class Datasets(DatasetArea):
    """Datasets, blocking."""

    upload = blocking(DatasetArea._upload)
    import_path = blocking(DatasetArea._import_path)
    get = blocking(DatasetArea._get)
    list = blocking(DatasetArea._list)
    profile = blocking(DatasetArea._profile)
    preview = blocking(DatasetArea._preview)
    delete = blocking(DatasetArea._delete)


class AsyncDatasets(DatasetArea):
    """Datasets, awaited."""

    upload = awaiting(DatasetArea._upload)
    import_path = awaiting(DatasetArea._import_path)
    get = awaiting(DatasetArea._get)
    list = awaiting(DatasetArea._list)
    profile = awaiting(DatasetArea._profile)
    preview = awaiting(DatasetArea._preview)
    delete = awaiting(DatasetArea._delete)


def _whole(source: Source) -> Steps[Dataset]:
    response = yield Request(
        "POST",
        "/v1/datasets",
        params={"name": source.name, "format": source.format},
        content=source.read(0, WHOLE_BYTES),
        headers={
            "Content-Type": "application/octet-stream",
            "Idempotency-Key": f"client-{secrets.token_hex(16)}",
        },
        read_s=READ_S,
    )
    return Dataset(response.json())


def _pieces(source: Source) -> Steps[Dataset]:
    """Send data by the tus protocol 1.0: after a loss the daemon is asked how far it got."""
    fields = {"filename": source.name, "name": source.name, "format": source.format}
    metadata = ",".join(
        f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in fields.items()
    )
    created = yield Request(
        "POST",
        "/v1/uploads",
        headers={**TUS, "Upload-Length": str(source.size), "Upload-Metadata": metadata},
    )
    place = created.headers["Location"]
    offset, tries = 0, 0
    while offset < source.size:
        try:
            sent = yield Request(
                "PATCH",
                place,
                content=source.read(offset, PIECE_BYTES),
                headers={
                    **TUS,
                    "Upload-Offset": str(offset),
                    "Content-Type": "application/offset+octet-stream",
                },
                read_s=READ_S,
                again=False,
            )
        except Unreachable:
            tries += 1
            if tries > TRIES:
                raise
            sent = yield Request("HEAD", place, headers=TUS)
        offset = int(sent.headers["Upload-Offset"])
    return (yield from _finished(place))


def _finished(place: str) -> Steps[Dataset]:
    """Return the dataset a whole upload became."""
    pause = 0.0
    while True:
        response = yield Request("GET", place, after_s=pause)
        upload = response.json()
        if upload["state"] == "failed":
            failure = upload["failure"]
            raise Rejected(HTTP_UNPROCESSABLE, {**failure, "detail": failure["message"]})
        if upload["state"] == "done":
            response = yield Request("GET", f"/v1/datasets/{quoted(upload['dataset_id'])}")
            return Dataset(response.json())
        pause = min(pause + 0.1, LONGEST_PAUSE_S)
