"""Jobs side by side: what was asked differently, and what came of it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.errors import FieldError, ValidationFailed
from trainbox_sdk.job_reports import ComparedJob, ComparedMetric, Comparison, Difference
from trainbox_sdk.jobs import JobView

FEWEST, MOST = 2, 20
LOWER = re.compile(
    r"(^|_)(rmse|mse|mae|mape|smape|wape|rmsle|msle|medae|logloss|log_loss|loss|error|err|brier"
    r"|perplexity|wer|cer|crps|pinball|deviance|fpr|fnr)(_|$|@)"
)
HIGHER = re.compile(
    r"(^|_)(accuracy|acc|auc|roc_auc|pr_auc|ap|map|f1|fbeta|precision|recall|r2|mcc|kappa|ndcg"
    r"|mrr|bleu|rouge|hit_rate|hits|spearman|pearson|silhouette|tpr|tnr)(_|$|@)"
)
"""The field's usual names; a name of both kinds, or of none, has no best."""


def require_ids(ids: Sequence[str]) -> None:
    """Refuse a list that cannot be compared.

    Raises:
        ValidationFailed: too few, too many, or one twice.
    """
    if len(set(ids)) == len(ids) and FEWEST <= len(ids) <= MOST:
        return
    why = "names a job twice" if len(set(ids)) < len(ids) else f"names {len(ids)} jobs"
    hint = f"give {FEWEST} to {MOST} different ids, with commas"
    raise ValidationFailed(f"ids {why}", hint=hint, errors=[FieldError(("ids",), why, hint)])


def compare(jobs: Sequence[JobView], datasets: Mapping[str, DatasetView]) -> Comparison:
    """Put jobs side by side.

    Args:
        jobs: in the order of the columns.
        datasets: by id, those that are still there.
    """
    columns = tuple(_column(job, datasets.get(job.dataset_id or "")) for job in jobs)
    return Comparison(
        jobs=columns,
        differences=tuple(_differences([job.params for job in jobs])),
        metrics=tuple(_metrics([job.metrics for job in jobs])),
        same_data=len({column.dataset_digest or column.dataset_id for column in columns}) == 1,
    )


def better(metric: str) -> str:
    """Return ``lower`` or ``higher`` for the names that the field agrees on, else nothing."""
    name = metric.lower()
    lower, higher = bool(LOWER.search(name)), bool(HIGHER.search(name))
    if lower == higher:
        return ""
    return "lower" if lower else "higher"


def _column(job: JobView, dataset: DatasetView | None) -> ComparedJob:
    peaks = [a.peak_memory_bytes for step in job.steps for a in step.attempts[-1:]]
    return ComparedJob(
        id=job.id,
        name=job.name,
        task=job.task,
        state=job.state,
        created_at=job.created_at,
        duration_s=job.duration_s,
        resources=job.resources,
        peak_memory_bytes=max((peak for peak in peaks if peak is not None), default=None),
        dataset_id=job.dataset_id,
        dataset_digest=dataset.digest if dataset else None,
        model_id=job.model_id,
    )


def _differences(params: Sequence[Mapping[str, Any]]) -> Iterator[Difference]:
    flat = [dict(_flat("", one)) for one in params]
    for path in sorted({path for one in flat for path in one}):
        values = tuple(one.get(path) for one in flat)
        if len({json.dumps(value, sort_keys=True, default=dict) for value in values}) > 1:
            yield Difference(path, values)


def _flat(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and (value or not path):
        for key, inner in value.items():
            yield from _flat(f"{path}.{key}" if path else str(key), inner)
    else:
        yield path, value


def _metrics(metrics: Sequence[Mapping[str, float]]) -> Iterator[ComparedMetric]:
    for name in sorted({name for one in metrics for name in one}):
        values = tuple(one.get(name) for one in metrics)
        direction = better(name)
        known = [value for value in values if value is not None]
        best = (min if direction == "lower" else max)(known) if direction and known else None
        yield ComparedMetric(
            name,
            values,
            direction,
            tuple(at for at, value in enumerate(values) if best is not None and value == best),
        )
