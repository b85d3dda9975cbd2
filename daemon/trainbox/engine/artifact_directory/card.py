"""The model card: for people, with the front matter that Hugging Face's tools read.

https://huggingface.co/docs/hub/model-cards and its ``model-index``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainbox.engine.artifact_directory import yaml_text
from trainbox.engine.artifact_directory.facts import ONNX_FILE, Origin
from trainbox.engine.artifact_directory.provenance import moment, params_digest

PIPELINES = {"regression": "tabular-regression"}
CLASSIFIERS = frozenset({"binclass", "multiclass"})
LISTED = 50
"""Columns, parameters and so on that a table shows."""


def card(origin: Origin) -> str:
    """Return ``card.md``."""
    front = yaml_text.dump(_front_matter(origin))
    return f"---\n{front}---\n\n" + "\n".join(_sections(origin)) + "\n"


def _front_matter(origin: Origin) -> dict[str, Any]:
    model = origin.model
    pipeline = _pipeline(model.task)
    metrics = [{"type": name, "value": value} for name, value in sorted(model.metrics.items())]
    result: dict[str, Any] = {
        "task": {"type": pipeline},
        "dataset": {"type": "tabular", "name": origin.dataset.name if origin.dataset else "none"},
        "metrics": metrics,
    }
    front: dict[str, Any] = {
        **({"library_name": "onnx"} if origin.file == ONNX_FILE else {}),
        "pipeline_tag": pipeline,
        "tags": [*(["onnx"] if origin.file == ONNX_FILE else []), "trainbox", model.task],
    }
    if metrics:
        front["model-index"] = [{"name": model.name, "results": [result]}]
    return front


def _pipeline(task: str) -> str:
    return "tabular-classification" if task in CLASSIFIERS else PIPELINES.get(task, "other")


def _sections(origin: Origin) -> Iterator[str]:
    model, job = origin.model, origin.job
    yield f"# {_text(model.name)}, version {model.version}"
    yield ""
    yield f"Task `{model.task}`, made {moment(model.created_at)} by trainbox {origin.maker}."
    yield from _table("Data", ("fact", "value"), _data(origin))
    yield from _table("Hold-out metrics", ("metric", "value", "plain guess"), _metrics(origin))
    yield from _table("Parameters", ("parameter", "value"), sorted(job.params.items()))
    best = origin.result.get("best_params")
    yield from _table("Chosen by the search", ("parameter", "value"), _items(best))
    inputs = [(item.get("name"), item.get("type")) for item in origin.inputs]
    yield from _table("Inputs", ("column", "type"), inputs)
    yield from _table("Importance, percent", ("column", "share"), _importance(origin))
    yield from _table("Parity of graph and trained model", ("fact", "value"), _parity(model.parity))
    yield from _limits(origin)
    yield from ("", "## Provenance", "")
    yield f"Job `{job.id}`, parameters sha256 `{params_digest(job.params)}`. The whole account is"
    yield "in `provenance.json`, every package in `sbom.cdx.json`."


def _data(origin: Origin) -> Iterator[tuple[str, Any]]:
    dataset, result = origin.dataset, origin.result
    if dataset is not None:
        yield "dataset", dataset.name
        yield "digest", dataset.digest
        yield "rows", dataset.rows
        yield "columns", len(dataset.columns)
    for key in ("target", "rows", "holdout_rows", "dropped_rows", "dropped_columns"):
        if key in result and not (key == "rows" and dataset is None):
            yield ("trained on rows" if key == "rows" else key.replace("_", " ")), result[key]


def _metrics(origin: Origin) -> list[tuple[Any, ...]]:
    guess = origin.result.get("baseline")
    base = guess if isinstance(guess, Mapping) else {}
    return [
        (name, value, base.get(name, "")) for name, value in sorted(origin.model.metrics.items())
    ]


def _importance(origin: Origin) -> list[tuple[str, Any]]:
    return _items(origin.result.get("importance"))


def _parity(parity: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [(key, value) for key, value in parity.items() if isinstance(value, int | float | str)]


def _items(value: object) -> list[tuple[str, Any]]:
    return [(str(key), item) for key, item in value.items()] if isinstance(value, Mapping) else []


def _limits(origin: Origin) -> Iterator[str]:
    yield from ("", "## Limits", "")
    yield "- It knows the data it was trained on: where the world has changed, so have its errors."
    yield "- The metrics are those of one hold-out; a small one measures coarsely."
    if any(item.get("type") == "string" for item in origin.inputs):
        yield "- A text that training never saw counts as unseen, whatever it says."
    yield "- It was not examined for bias against groups of people."


def _table(title: str, head: Sequence[str], rows: Any) -> Iterator[str]:
    shown = list(rows)
    if not shown:
        return
    yield from ("", f"## {title}", "")
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in shown[:LISTED]:
        yield f"| {' | '.join(_cell(value) for value in row)} |"
    if len(shown) > LISTED:
        yield f"\n… and {len(shown) - LISTED} more."


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else _text(value)[:200]


def _text(value: object) -> str:
    """Return text that stays text in a table: names are other people's words."""
    plain = " ".join(str(value).split())
    for mark in "\\`*_[]<>|#":
        plain = plain.replace(mark, "\\" + mark)
    return plain
