"""Between the words of ``/v1/models`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.models import wire
from trainbox_sdk.artifacts import ModelView


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
        "created_at": view.created_at,
    }
