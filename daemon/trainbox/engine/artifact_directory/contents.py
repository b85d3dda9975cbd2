"""The bytes of every file of a model's directory but the graph itself: a pure function."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from trainbox.engine.artifact_directory.bill_of_materials import bill_of_materials
from trainbox.engine.artifact_directory.card import card
from trainbox.engine.artifact_directory.facts import ONNX_FILE, Origin
from trainbox.engine.artifact_directory.mlflow_files import mlflow_files
from trainbox.engine.artifact_directory.provenance import provenance

MANIFEST = "manifest.json"
MEDIA_TYPES = {".json": "application/json", ".md": "text/markdown", ".onnx": "application/onnx"}


def media_type(path: str) -> str:
    """Return what a file is, by its name."""
    return MEDIA_TYPES.get(path[path.rfind(".") :], "text/plain")


def contents(origin: Origin) -> dict[str, bytes]:
    """Return the files by path, ``manifest.json`` last; the same origin gives the same bytes."""
    signature = {**origin.model.signature}
    classes = origin.result.get("classes")
    if classes is not None:
        signature["classes"] = classes
    documents: dict[str, Any] = {
        "signature.json": signature,
        "metrics.json": _metrics(origin),
        "sbom.cdx.json": bill_of_materials(origin),
        "provenance.json": provenance(origin),
    }
    if origin.preview is not None:
        documents["preview.json"] = origin.preview
        documents["input_example.json"] = _input_example(origin.preview["rows"])
    texts = {
        **{path: _json(document) for path, document in documents.items()},
        **(mlflow_files(origin) if origin.file == ONNX_FILE else {}),
        "card.md": card(origin),
    }
    # A guest's words may hold half a surrogate pair, which UTF-8 has not.
    found = {path: texts[path].encode("utf-8", "replace") for path in sorted(texts)}
    return {**found, MANIFEST: _manifest(origin, found)}


def _metrics(origin: Origin) -> dict[str, Any]:
    told = {
        key: origin.result[key]
        for key in ("baseline", "holdout_rows", "search", "best_params", "importance")
        if key in origin.result
    }
    return {"metrics": origin.model.metrics, **told, "parity": origin.model.parity}


def _input_example(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = list(rows[0])
    return {"columns": names, "data": [[row[name] for name in names] for row in rows]}


def _manifest(origin: Origin, found: Mapping[str, bytes]) -> bytes:
    entries = {
        path: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}
        for path, data in found.items()
    }
    model = origin.model
    entries[origin.file] = {"sha256": model.digest.removeprefix("sha256:"), "bytes": model.bytes}
    document = {
        "model": {"id": model.id, "name": model.name, "version": model.version},
        "files": dict(sorted(entries.items())),
    }
    return _json(document).encode("utf-8", "replace")


def _json(document: Any) -> str:
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
