"""One tabular job, told in order: read, hold rows back, search, train, prove, write."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import catboost
import numpy as np

from trainbox_plugins.onnx_kit import rows as rows_kit
from trainbox_plugins.onnx_kit.session import open_session
from trainbox_plugins.tabular.guest import describe, scores
from trainbox_plugins.tabular.guest.dataset import Dataset, read_dataset
from trainbox_plugins.tabular.guest.export import Artifact, export_model
from trainbox_plugins.tabular.guest.fit import Trainer, choose_gpu
from trainbox_plugins.tabular.guest.pace import FitProgress, Rest
from trainbox_plugins.tabular.guest.parquet import ParquetFile
from trainbox_plugins.tabular.guest.search import MOST_DONE, Choice, Search
from trainbox_plugins.tabular.guest.settings import Settings
from trainbox_plugins.tabular.guest.space import defaults, search_space
from trainbox_plugins.tabular.guest.split import Fold, hold_out, make_folds
from trainbox_plugins.tabular.guest.study import open_study

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from trainbox_guest.run import Run

MODEL_NAME = "model.onnx"
_PROBE_ROWS = 1000
_PREVIEW_ROWS = 3
_MEASURED, _TRAINED = 0.9, 0.95
"""Progress of the job after the holdout's fit and after the last."""


def main(run: Run) -> None:
    """Train one model and leave ``model.onnx`` and ``result.json``.

    Raises:
        trainbox_guest.run.GuestError: the data cannot be trained on, or the exported graph differs
            from the model.
    """
    settings = Settings.from_params(run.task, run.params)
    threads = max(1, math.floor(run.cpus))
    run.emit.progress(0.0, message="reading the data")
    source = ParquetFile(run.dataset_path, threads=threads, memory_bytes=run.memory_bytes)
    data = read_dataset(source, settings, run.emit.message)
    classes = data.target.classes
    trainer = Trainer(
        settings,
        threads,
        run.memory_bytes,
        gpu=choose_gpu(settings.device),
        class_count=0 if classes is None else len(classes),
    )
    _Job(run, settings, data, trainer).train()


@dataclass(frozen=True)
class _Holdout:
    """Scores on rows that took no part in the choice, and of a guess that knows no features."""

    metrics: Mapping[str, float]
    baseline: Mapping[str, float]
    rows: int


class _Job:
    """The data of one job, and the steps over it."""

    def __init__(self, run: Run, settings: Settings, data: Dataset, trainer: Trainer) -> None:
        self._run = run
        self._settings = settings
        self._data = data
        self._trainer = trainer
        self._random = np.random.default_rng(settings.seed)
        self._pool = catboost.Pool(
            data.frame.features(),
            label=data.target.values,
            weight=data.weight if settings.sample_weight else None,
            cat_features=data.frame.categorical_features(),
        )
        codes = data.target.codes
        self._dev, self._held = hold_out(codes, len(data), settings.holdout_fraction, self._random)

    def train(self) -> None:
        """Search, measure on the holdout, train on everything, export."""
        emit = self._run.emit
        choice, rest = self._search()
        parameters = {**choice.parameters, "iterations": choice.iterations}
        holdout = self._measure(parameters, rest)
        for name, value in holdout.metrics.items():
            if math.isfinite(value):  # AUC of a holdout of one class is undefined
                emit.metric(f"holdout_{name}", value)
        watch = FitProgress(
            emit,
            "training on all rows",
            (_MEASURED, _TRAINED),
            trees=choice.iterations,
            expected_s=rest.final_s,
            after_s=rest.export_s,
        )
        model = self._trainer.fit(parameters, self._pool, on_tree=watch)
        emit.progress(_TRAINED, message="writing and checking the ONNX file", eta_s=rest.export_s)
        artifact = self._export(model)
        self._write(artifact.onnx)
        preview = self._preview(artifact.onnx)
        self._run.result({**self._facts(model, choice, holdout, artifact), "preview": preview})
        emit.progress(1.0, message="done", eta_s=0.0)

    def _search(self) -> tuple[Choice, Rest]:
        data, settings = self._data, self._settings
        codes = data.target.codes
        inner = None if codes is None else codes[self._dev]
        folds: list[Fold] = make_folds(inner, len(self._dev), settings.validation, self._random)
        space = search_space(
            rows=len(self._dev),
            features=sum(column.width for column in data.frame.columns),
            categoricals=len(data.frame.categorical_features()),
            max_ctr_complexity=settings.max_ctr_complexity,
            loss=settings.loss,
            gpu=self._trainer.gpu,
        )
        study = open_study(self._run.scratch_path, settings, self._identity(), defaults(space))
        search = Search(
            study,
            space,
            self._trainer,
            pool=self._pool.slice(self._dev),
            truth=data.target.values[self._dev],
            weight=data.weight[self._dev],
            folds=folds,
            all_rows=len(data),
            emit=self._run.emit,
        )
        return search.run(), search.rest()

    def _identity(self) -> dict[str, Any]:
        """Return what must be the same for an earlier attempt's trials to count.

        A later attempt may ask for more trials or more time.
        """
        identity = asdict(self._settings)
        del identity["trials"], identity["time_budget_s"]
        digest = self._run.job.get("dataset_digest", "")
        return {**identity, "rows": len(self._data), "dataset": digest}

    def _measure(self, parameters: Mapping[str, Any], rest: Rest) -> _Holdout:
        """Score a model that has seen neither the holdout nor a choice made by it."""
        dev, held = self._dev, self._held
        truth, weight = self._data.target.values, self._data.weight
        watch = FitProgress(
            self._run.emit,
            "measuring on the holdout",
            (MOST_DONE, _MEASURED),
            trees=parameters["iterations"],
            expected_s=rest.holdout_s,
            after_s=rest.final_s + rest.export_s,
        )
        model = self._trainer.fit(parameters, self._pool.slice(dev), on_tree=watch)
        answer = self._trainer.answer(model, self._pool.slice(held))
        guess = _guess(truth[dev], weight[dev], len(held), self._trainer.class_count)
        task = self._settings.task
        return _Holdout(
            metrics=scores.score_all(task, truth[held], answer, weight[held]),
            baseline=scores.score_all(task, truth[held], guess, weight[held]),
            rows=len(held),
        )

    def _export(self, model: catboost.CatBoost) -> Artifact:
        data = self._data
        spread = 1.0 if data.target.classes is not None else float(np.std(data.target.values))
        return export_model(
            model,
            self._pool,
            data.frame,
            classes=data.target.classes,
            probe_rows=self._random.permutation(self._held)[:_PROBE_ROWS],
            spread=spread or 1.0,
            metadata=describe.metadata(data, self._settings, self._run.job),
            folder=self._run.scratch_path,
            threads=self._trainer.threads,
            seed=self._settings.seed,
        )

    def _preview(self, onnx: bytes) -> dict[str, Any]:
        """Return a few rows of the holdout, and what the file itself predicts for them."""
        signature = describe.signature(self._data)["inputs"]
        rows = rows_kit.to_json(
            signature, self._data.frame.table(np.sort(self._held)[:_PREVIEW_ROWS])
        )
        session = open_session(onnx, threads=1)
        return {
            "source": "holdout",
            "rows": rows,
            "predictions": rows_kit.predict(session, signature, rows),
        }

    def _write(self, onnx: bytes) -> None:
        part = self._run.output_path / (MODEL_NAME + ".part")
        part.write_bytes(onnx)
        part.replace(self._run.output_path / MODEL_NAME)

    def _facts(
        self, model: catboost.CatBoost, choice: Choice, holdout: _Holdout, artifact: Artifact
    ) -> dict[str, Any]:
        data, settings = self._data, self._settings
        classes = data.target.classes
        return {
            "task": settings.task,
            "target": settings.target,
            "metrics": holdout.metrics,
            "baseline": holdout.baseline,
            "holdout_rows": holdout.rows,
            "search": {
                "metric": settings.metric,
                "direction": settings.direction,
                "score": choice.score,
                "trial": choice.trial,
                "reason": choice.reason,
                "trials": choice.trials,
            },
            "best_params": {**choice.parameters, "iterations": model.tree_count_},
            "signature": describe.signature(data),
            "classes": None if classes is None else classes.tolist(),
            "parity": artifact.parity.to_json(),
            "importance": self._importance(model),
            "onnx_bytes": len(artifact.onnx),
            "rows": len(data),
            "dropped_rows": data.dropped_rows,
            "dropped_columns": data.dropped_columns,
            "weighted": settings.sample_weight is not None,
            "device": "gpu" if self._trainer.gpu else "cpu",
        }

    def _importance(self, model: catboost.CatBoost) -> dict[str, float]:
        """Return each column's share of the change in predictions, in percent, largest first."""
        shares = iter(model.get_feature_importance(type="PredictionValuesChange"))
        total = {
            column.name: float(sum(next(shares) for _ in range(column.width)))
            for column in self._data.frame.columns
        }
        return dict(sorted(total.items(), key=lambda item: -item[1]))


def _guess(
    truth: NDArray[Any], weight: NDArray[np.float64], count: int, classes: int
) -> NDArray[np.float64]:
    """Return the mean [count], or the classes' shares [count, C]: what any model must beat."""
    if not classes:
        return np.full(count, np.average(truth, weights=weight))
    shares = np.bincount(truth, weights=weight, minlength=classes) / weight.sum()
    return np.tile(shares, (count, 1))
