"""Versions of a model: which one is meant, which files it has, in which formats."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from trainbox_plugins.custom_training.answers import ArtifactOut, VersionOut
from trainbox_plugins.custom_training.errors import refused
from trainbox_plugins.custom_training.names import RUN_LABEL, meant, shown, stamp
from trainbox_plugins.custom_training.records import ModelRecord
from trainbox_sdk.artifacts import ArtifactView, ModelView
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import NotFound

ONNX = "onnx"
_FORMATS: Mapping[str, str] = {
    "application/onnx": ONNX,
    "application/x-onnx": ONNX,
    "application/x-tar": "tar",
}
_SAME: Mapping[str, str] = {"pickle": "pkl"}
UNKNOWN = "bin"


def format_of(artifact: ArtifactView) -> str:
    """Return the format of a file: what its bytes were seen to be, or else what its name says."""
    if artifact.media_type in _FORMATS:
        return _FORMATS[artifact.media_type]
    stem, dot, suffix = artifact.name.rpartition("/")[2].rpartition(".")
    word = suffix.lower()
    if not (stem and dot and word.isascii() and word.isalnum() and len(word) <= 16):  # noqa: PLR2004 - as a query takes it
        return UNKNOWN
    return _SAME.get(word, word)


class Versions:
    """Versions of models."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def version(self, who: Principal, model: ModelRecord, version_id: str) -> ModelView:
        """Return a version of a model.

        Raises:
            NotFound: it has none of that id.
        """
        missing = NotFound(f"Model {model.id!r} has no version {version_id[:80]!r}.")
        if not version_id.startswith("ver-"):
            raise missing
        try:
            found = await self._engine.model(who, meant(version_id))
        except NotFound:
            raise missing from None
        if found.name != model.id or found.owner not in {"", model.owner}:
            raise missing
        return found

    async def chosen(
        self, who: Principal, model: ModelRecord, version_id: str | None, *where: str
    ) -> ModelView:
        """Return the version that is asked for, or the promoted one.

        Raises:
            NotFound: no such version.
            PreciseFailure: none is asked for, and none is promoted, or that was thrown away.
        """
        wanted = version_id or model.body.promoted
        if wanted is None:
            raise refused(
                *where,
                "version_id",
                msg="no version of this model is promoted; name one, or promote one with "
                "POST /api/v1/models/{model_id}/versions/{version_id}/promote",
            )
        found = await self.version(who, model, wanted)
        if version_id is None and found.trashed_at is not None:
            raise refused(
                *where,
                "version_id",
                msg=f"the promoted version {wanted} was thrown away; name or promote another",
            )
        return found

    async def files(self, who: Principal, version: ModelView) -> Sequence[ArtifactView]:
        """Return the files a version is made of, the one it is served from first."""
        found = await self._engine.artifacts(who, version.job_id)
        own = [
            each
            for each in found
            if each.id == version.artifact_id
            or each.kind == "model"
            or each.name.startswith("model/")
        ]
        return sorted(own, key=lambda each: (each.id != version.artifact_id, each.name))

    async def shown(self, who: Principal, model: ModelRecord, version: ModelView) -> VersionOut:
        """Return a version as the dialect shows it."""
        job, files = await asyncio.gather(
            self._engine.job(who, version.job_id), self.files(who, version)
        )
        id_ = shown(version.id)
        return {
            "version_id": id_,
            "model_id": model.id,
            "version": version.version,
            "status": "ready" if version.trashed_at is None else "archived",
            "promoted": id_ == model.body.promoted,
            "run_id": job.labels.get(RUN_LABEL),
            "hyperparameters": _hyperparameters(job.params),
            "metrics": dict(version.metrics),
            "artifacts": [_file(each) for each in files],
            "created_at": stamp(version.created_at) or "",
        }


def _hyperparameters(params: Mapping[str, object]) -> dict[str, object]:
    """Return what the training was told; of a script's variables the names alone.

    Values of variables are as often secrets as they are hyper-parameters.
    """
    found = {
        name: value
        for name, value in params.items()
        if name not in {"assets", "environment_vars"} and value is not None
    }
    variables = params.get("environment_vars")
    if isinstance(variables, Mapping):
        found["environment_vars"] = sorted(variables)
    return found


def _file(artifact: ArtifactView) -> ArtifactOut:
    return {
        "name": artifact.name,
        "format": format_of(artifact),
        "size_bytes": artifact.bytes,
        "digest": artifact.digest,
    }
