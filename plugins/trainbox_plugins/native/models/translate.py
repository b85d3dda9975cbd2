"""Between the words of ``/v1/models`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.models import wire
from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.models import AliasChange, AliasView, ModelDirectory, ModelFilter


def model(view: ModelView) -> wire.ModelOut:
    """Return a model version as ``/v1`` says it."""
    return {
        "id": view.id,
        "name": view.name,
        "version": view.version,
        "job_id": view.job_id,
        "task": view.task,
        "artifact_id": view.artifact_id,
        "digest": view.digest,
        "bytes": view.bytes,
        "dataset_id": view.dataset_id,
        "signature": view.signature,
        "metrics": view.metrics,
        "parity": view.parity,
        "aliases": view.aliases,
        "owner": view.owner,
        "created_at": view.created_at,
        "trashed_at": view.trashed_at,
        "purged_at": view.purged_at,
    }


def which(asked: wire.ListQuery) -> ModelFilter:
    """Return what a listing's query asks for."""
    return ModelFilter(**asked.model_dump())


def alias(view: AliasView) -> wire.AliasOut:
    """Return an alias as ``/v1`` says it."""
    return {
        "name": view.name,
        "alias": view.alias,
        "version": view.version,
        "model_id": view.model_id,
        "updated_at": view.updated_at,
    }


def change(made: AliasChange) -> wire.AliasChangeOut:
    """Return a move of an alias as ``/v1`` says it."""
    return {
        "seq": made.seq,
        "name": made.name,
        "alias": made.alias,
        "act": made.act,
        "from_version": made.from_version,
        "to_version": made.to_version,
        "who": made.who,
        "reason": made.reason,
        "at": made.at,
    }


def directory(found: ModelDirectory) -> wire.DirectoryOut:
    """Return a model's directory as ``/v1`` says it."""
    files: list[wire.FileOut] = [
        {
            "path": file.path,
            "bytes": file.bytes,
            "digest": file.digest,
            "media_type": file.media_type,
        }
        for file in found.files
    ]
    return {"model_id": found.model_id, "digest": found.digest, "files": files}
