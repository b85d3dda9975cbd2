"""What is true when a model is made and could not be found out later."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

from trainbox_sdk.artifacts import ArtifactView, DatasetView, ModelView
from trainbox_sdk.environments import Environment
from trainbox_sdk.jobs import JobView

TOLD_ELSEWHERE = frozenset({"metrics", "parity", "preview", "signature"})
"""Keys of a guest's result that have a place of their own."""
ONNX_FILE = "model.onnx"
_SUFFIXES = {
    "application/onnx": ".onnx",
    "application/x-tar": ".tar",
    "application/x-pickle": ".pkl",
    "application/zip": ".zip",
    "application/gzip": ".gz",
}
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
_IMAGE = re.compile(r"sha256:[0-9a-f]{64}")


def record(
    result: Mapping[str, Any],
    checked: Mapping[str, object],
    *,
    backend: str,
    environment: Environment | None,
    reference: str,
    installed: Sequence[str] = (),
) -> dict[str, Any]:
    """Return the facts of a model that is about to be inserted, as JSON.

    Args:
        result: what the step reported.
        checked: what the second sandbox found in the file.
        backend: where the step ran.
        environment: what it ran in; None where no plugin registers it any more.
        reference: what the backend started. A directory of this host is nobody's business and is
            left out; an image's digest stays.
        installed: the packages there, as ``name==version``, where they are not the lock's own.
    """
    return {
        "trainbox": version("trainbox"),
        "backend": backend,
        "environment": _environment(environment, reference, installed),
        "result": {key: value for key, value in result.items() if key not in TOLD_ELSEWHERE},
        # The second sandbox's, not the first one's claim.
        "preview": _preview(checked.get("preview")),
        "check": {key: value for key, value in checked.items() if key not in TOLD_ELSEWHERE},
    }


def model_file(artifact: ArtifactView) -> str:
    """Return what a model's file is called in its directory."""
    if artifact.name.endswith(".onnx"):
        return ONNX_FILE
    return f"model{_SUFFIXES.get(artifact.media_type, '.bin')}"


def packages_of(lock: str) -> list[list[str]]:
    """Return name and version of every package a pip requirements file pins, by name."""
    return sorted([name.lower(), pinned] for name, pinned in _PINNED.findall(lock))


def tensors(signature: Mapping[str, Any], side: str) -> list[Mapping[str, Any]]:
    """Return the ``inputs`` or ``outputs`` of a signature, without what is none.

    A task without a check states its own signature, and its guest may state anything.
    """
    stated = signature.get(side)
    return [
        item
        for item in (stated if isinstance(stated, list) else ())
        if isinstance(item, Mapping) and isinstance(item.get("name"), str)
    ]


def _preview(claimed: object) -> dict[str, Any] | None:
    if not isinstance(claimed, Mapping):
        return None
    rows, predictions = claimed.get("rows"), claimed.get("predictions")
    if not (isinstance(rows, list) and isinstance(predictions, list) and rows):
        return None
    if not all(isinstance(row, Mapping) and row.keys() == rows[0].keys() for row in rows):
        return None
    return {"source": str(claimed.get("source", "")), "rows": rows, "predictions": predictions}


def _environment(
    environment: Environment | None, reference: str, installed: Sequence[str]
) -> dict[str, Any] | None:
    if environment is None:
        return None
    packages = packages_of("\n".join(installed) or environment.requirements.read_text())
    return {
        "name": environment.name,
        "python": environment.python,
        "digest": environment.digest,
        "image": reference if _IMAGE.fullmatch(reference) else None,
        "packages": packages,
    }


@dataclass(frozen=True)
class Origin:
    """Everything known of one version, from which its directory is made.

    Attributes:
        instance: which daemon made it.
        dataset: None for a task without data.
        facts: as :func:`record` wrote them; empty for a version from before there were any.
        preview: rows in and predictions out; None where none could be made.
        file: what the model itself is called: ``model.onnx``, or by its type where it is none.
    """

    instance: str
    model: ModelView
    job: JobView
    dataset: DatasetView | None
    facts: Mapping[str, Any] = field(default_factory=dict)
    preview: Mapping[str, Any] | None = None
    file: str = ONNX_FILE

    @property
    def inputs(self) -> list[Mapping[str, Any]]:
        """The graph's inputs, as far as they are stated."""
        return tensors(self.model.signature, "inputs")

    @property
    def outputs(self) -> list[Mapping[str, Any]]:
        """The graph's outputs, as far as they are stated."""
        return tensors(self.model.signature, "outputs")

    @property
    def result(self) -> Mapping[str, Any]:
        """What the step reported beside metrics, parity, preview and signature."""
        found: Mapping[str, Any] = self.facts.get("result") or {}
        return found

    @property
    def environment(self) -> Mapping[str, Any]:
        """What it was trained in; empty where nobody wrote it down."""
        found: Mapping[str, Any] = self.facts.get("environment") or {}
        return found

    @property
    def packages(self) -> Sequence[Sequence[str]]:
        """Name and version of every package of the environment."""
        found: Sequence[Sequence[str]] = self.environment.get("packages") or ()
        return found

    @property
    def maker(self) -> str:
        """Version of the daemon that made it, as far as it was written down."""
        return str(self.facts.get("trainbox") or "unknown")

    def pin(self, package: str) -> str | None:
        """Return the version of a package in the environment, or None."""
        return next((pinned for name, pinned in self.packages if name == package), None)
