"""Between the words of ``/v1/datasets`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.datasets import wire
from trainbox_sdk.artifacts import Column, DatasetView
from trainbox_sdk.errors import DataFault
from trainbox_sdk.problems import FaultProblem
from trainbox_sdk.uploads import PurgeReport, UploadFailure, UploadView


def column(view: Column) -> wire.ColumnOut:
    """Return a column as ``/v1`` says it."""
    return {
        "name": view.name,
        "type": view.type,
        "sql_type": view.sql_type,
        "missing": view.missing,
        "distinct": view.distinct,
        "distinct_exact": view.distinct_exact,
        "min": view.min,
        "max": view.max,
        "examples": view.examples,
    }


def dataset(view: DatasetView) -> wire.DatasetOut:
    """Return a dataset as ``/v1`` says it."""
    return {
        "id": view.id,
        "name": view.name,
        "version": view.version,
        "digest": view.digest,
        "source_format": view.source_format,
        "source_digest": view.source_digest,
        "bytes": view.bytes,
        "rows": view.rows,
        "columns": [column(each) for each in view.columns],
        "warnings": view.warnings,
        "description": view.description,
        "labels": view.labels,
        "owner": view.owner,
        "created_at": view.created_at,
        "trashed_at": view.trashed_at,
        "purged_at": view.purged_at,
    }


def upload(view: UploadView) -> wire.UploadOut:
    """Return a resumable upload as ``/v1`` says it."""
    return {
        "id": view.id,
        "name": view.spec.name,
        "format": view.spec.format,
        "filename": view.spec.filename,
        "bytes": view.bytes,
        "received": view.received,
        "state": view.state,
        "dataset_id": view.dataset_id,
        "replayed": view.replayed,
        "failure": None if view.failure is None else failure(view.failure),
        "created_at": view.created_at,
        "expires_at": view.expires_at,
    }


def failure(view: UploadFailure) -> wire.FailureOut:
    """Return why an upload failed as ``/v1`` says it."""
    return {
        "code": view.code,
        "message": view.message,
        "hint": view.hint,
        "errors": [
            {"loc": list(each.loc), "msg": each.msg, "hint": each.hint} for each in view.errors
        ],
        "faults": [fault(each) for each in view.faults],
    }


def fault(view: DataFault) -> FaultProblem:
    """Return one fault of the data as ``/v1`` says it."""
    return {
        "rule": view.rule,
        "message": view.message,
        "hint": view.hint,
        "row": view.row,
        "line": view.line,
        "column": view.column,
        "value": view.value,
        "file": view.file,
    }


def purge(report: PurgeReport) -> wire.PurgeOut:
    """Return what a purge did as ``/v1`` says it."""
    return {
        "dry_run": report.dry_run,
        "freed_bytes": report.freed_bytes,
        "purged": [
            {
                "kind": each.kind,
                "id": each.id,
                "name": each.name,
                "version": each.version,
                "digest": each.digest,
            }
            for each in report.purged
        ],
        "kept": [
            {
                "kind": each.kind,
                "id": each.id,
                "name": each.name,
                "version": each.version,
                "reason": each.reason,
            }
            for each in report.kept
        ],
        "files": [
            {"what": each.what, "path": each.path, "bytes": each.bytes} for each in report.files
        ],
    }
