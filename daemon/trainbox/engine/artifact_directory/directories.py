"""Puts a version's directory together at its first use, and keeps it for ever after."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from trainbox.blobs import BlobStore
from trainbox.engine.artifact_directory.archive import lay_out
from trainbox.engine.artifact_directory.contents import MANIFEST, contents, media_type
from trainbox.engine.artifact_directory.facts import Origin, model_file, tensors
from trainbox.engine.predict_values import unserved
from trainbox.store import Store
from trainbox_sdk.artifacts import ArtifactFile, ArtifactView, ModelView, Prediction
from trainbox_sdk.errors import NotFound, Unavailable, ValidationFailed
from trainbox_sdk.models import ModelArchive, ModelDirectory, ModelFile

_NOT_PLAIN = re.compile(r"[^A-Za-z0-9._-]+")
_EMPTY: Mapping[str, Any] = {"string": "", "boolean": False, "number": 0}


class RunsModels(Protocol):
    """What can run a model on rows, confined."""

    async def predict(
        self, model: ModelView, onnx_path: Path, rows: Sequence[Mapping[str, Any]]
    ) -> Prediction:
        """Predict rows."""


class Directories:
    """The directories of model versions; their files lie in the blob store.

    What is written first counts: blobs, then their rows in one transaction, so a crash leaves a
    directory whole or absent, and the next use begins again with the same bytes.
    """

    def __init__(self, store: Store, blobs: BlobStore, runner: RunsModels) -> None:
        self._store = store
        self._blobs = blobs
        self._runner = runner

    async def of(self, model: ModelView) -> ModelDirectory:
        """Return the directory of a version, put together if it never was.

        Raises:
            StorageFull: no room for its small files.
            Unavailable: a version without a recorded preview, while no worker is free to make one.
        """
        files = await self._store.models.files(model.id) or await self._make(model)
        manifest = next(file for file in files if file.path == MANIFEST)
        return ModelDirectory(model.id, manifest.digest, files)

    async def file(self, model: ModelView, path: str) -> ArtifactFile:
        """Return one file.

        Raises:
            NotFound: no such file.
        """
        found = (await self.of(model)).file(path)
        if found is None:
            raise NotFound(
                f"model {model.name}:{model.version} has no file {path[:200]!r}",
                code="file_not_found",
                hint=f"list them with GET /v1/models/{model.id}/files",
            )
        view = ArtifactView(
            id=f"{model.id}/{found.path}",
            job_id=model.job_id,
            step="",
            name=found.path,
            kind="file",
            digest=found.digest,
            bytes=found.bytes,
            media_type=found.media_type,
            created_at=model.created_at,
        )
        return ArtifactFile(view, self._blobs.path(found.digest))

    async def archive(self, model: ModelView) -> ModelArchive:
        """Return the directory laid out as one tar, below a folder named after the version."""
        directory = await self.of(model)
        plain = _NOT_PLAIN.sub("_", model.name).lstrip(".")[:80] or "model"
        folder = f"{plain}-v{model.version}"
        files = [(file.path, file.bytes, self._blobs.path(file.digest)) for file in directory.files]
        parts = lay_out(folder, files, model.created_at)
        # The manifest's digest decides the bytes of every file, these the names and times.
        identity = f"tar1 {directory.digest} {folder} {int(model.created_at.timestamp())}"
        etag = hashlib.sha256(identity.encode()).hexdigest()
        return ModelArchive(f"{folder}.tar", etag, parts)

    async def _make(self, model: ModelView) -> tuple[ModelFile, ...]:
        origin = await self._origin(model)
        texts = await asyncio.to_thread(contents, origin)
        artifact = await self._store.jobs.artifact(model.artifact_id)
        assert artifact is not None  # a foreign key
        files = [ModelFile(origin.file, model.digest, model.bytes, artifact.media_type)]
        published: list[str] = []
        try:
            for path, data in texts.items():
                blob = await self._blobs.put_stream(_once(data), len(data))
                published.append(blob.digest)
                files.append(ModelFile(path, blob.digest, blob.bytes, media_type(path)))
            return await self._store.models.add_files(model.id, files)
        finally:
            for digest in published:  # with their rows, or given up
                self._blobs.settle(digest)

    async def _origin(self, model: ModelView) -> Origin:
        job = await self._store.jobs.get(model.job_id)
        assert job is not None  # a foreign key
        dataset = await self._store.datasets.get(model.dataset_id) if model.dataset_id else None
        facts = await self._store.models.facts(model.id)
        preview = facts.get("preview") or await self._preview(model)
        assert preview is None or isinstance(preview, Mapping)
        artifact = await self._store.jobs.artifact(model.artifact_id)
        assert artifact is not None  # a foreign key
        name = model_file(artifact)
        return Origin(self._store.instance, model, job, dataset, facts, preview, name)

    async def _preview(self, model: ModelView) -> Mapping[str, Any] | None:
        """Return a preview of a row of gaps, for a version whose task wrote none down."""
        inputs = tensors(model.signature, "inputs")
        if unserved(model.signature):
            return None
        path = self._blobs.path(model.digest)
        gaps = dict.fromkeys((item["name"] for item in inputs), None)
        filled = {item["name"]: _EMPTY.get(str(item.get("type"))) for item in inputs}
        for row in (gaps, filled):
            try:
                answer = await self._runner.predict(model, path, [row])
            except ValidationFailed:
                continue  # an input that takes no gap, or a graph that does not take these values
            except Unavailable as refusal:
                if refusal.code != "model_unusable":
                    raise
                return None  # its task has no check, and what its guest stated is no signature
            return {"source": "gaps", "rows": [row], "predictions": list(answer.rows)}
        return None


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
