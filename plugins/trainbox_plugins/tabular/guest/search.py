"""Tries hyper-parameters, one trial at a time, and chooses."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from trainbox_guest.run import GuestError
from trainbox_plugins.tabular.guest import scores
from trainbox_plugins.tabular.guest.pace import PROGRESS_EVERY_S, Rest, estimate_rest
from trainbox_plugins.tabular.guest.space import Parameter, suggest
from trainbox_plugins.tabular.guest.study import DEFAULTS, finished

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import catboost
    from numpy.typing import NDArray

    from trainbox_guest.emit import Emitter
    from trainbox_plugins.tabular.guest.fit import Trainer
    from trainbox_plugins.tabular.guest.split import Fold

MOST_DONE = 0.85  # of the job, when the search ends
_FOLDS_FOR_AN_ERROR = 3


@dataclass(frozen=True)
class Choice:
    """The hyper-parameters to train with, and how they were found.

    Attributes:
        parameters: CatBoost's, without ``iterations``.
        iterations: median over folds of the trees kept by early stopping.
        score: the chosen trial's, on validation rows: optimistic, for it was chosen by it.
        reason: why this trial.
        trials: every finished trial, as JSON-able data.
    """

    parameters: Mapping[str, Any]
    iterations: int
    score: float
    trial: int
    reason: str
    trials: Sequence[Mapping[str, Any]]


class Search:
    """Runs trials until there are enough or time is up.

    Args:
        study: its record; finished trials in it count.
        space: where to look.
        trainer: how to train.
        pool: the rows outside the holdout; ``truth`` and ``weight`` belong to them.
        folds: how to score.
        all_rows: rows of the job, those of the holdout counted in.
        emit: where to report.
    """

    def __init__(
        self,
        study: optuna.Study,
        space: Sequence[Parameter],
        trainer: Trainer,
        *,
        pool: catboost.Pool,
        truth: NDArray[Any],
        weight: NDArray[np.float64],
        folds: Sequence[Fold],
        all_rows: int,
        emit: Emitter,
    ) -> None:
        self._study = study
        self._space = space
        self._trainer = trainer
        self._pool = pool
        self._truth = truth
        self._weight = weight
        self._folds = folds
        self._all_rows = all_rows
        self._emit = emit
        self._settings = trainer.settings
        self._clock = _Clock(study, self._settings.trials, self._settings.time_budget_s)

    def run(self) -> Choice:
        """Search and choose.

        Raises:
            GuestError: CatBoost refuses the data, or the metric is undefined on it.
        """
        done = len(finished(self._study))
        if done:
            self._emit.message(f"resuming: {done} of {self._settings.trials} trials are done")
        while self._clock.time_for_another():
            self._one_trial()
        return choose(self._study, self._settings.metric)

    def rest(self) -> Rest:
        """Estimate what follows the search from the trial that is chosen so far."""
        return estimate_rest(
            self._kept_s(),
            rows_per_trial=sum(len(train) for train, _ in self._folds),
            dev_rows=len(self._truth),
            rows=self._all_rows,
        )

    def _kept_s(self) -> float:
        """Return the chosen trial's seconds without the trees that early stopping threw away."""
        if not any(trial.state == TrialState.COMPLETE for trial in finished(self._study)):
            return 0.0
        settings = self._settings
        choice = choose(self._study, settings.metric)
        seconds: float = choice.trials[choice.trial]["seconds"]
        grown = min(choice.iterations + settings.early_stopping_rounds, settings.max_iterations)
        return seconds * choice.iterations / max(grown, 1)

    def _eta_s(self, inside: float = 0.0) -> float | None:
        """Return the job's seconds left, None before a trial has told how long one takes."""
        left = self._clock.remaining_s(inside)
        return None if left is None else left + self.rest().total_s

    def _one_trial(self) -> None:
        number, began = len(finished(self._study)), time.monotonic()
        trial = self._study.ask()
        sampled = suggest(trial, self._space)
        parameters = self._catboost_parameters(sampled, defaults=DEFAULTS in trial.user_attrs)
        try:
            score, pruned = self._evaluate(trial, parameters, number)
        except GuestError:
            self._study.tell(trial, state=TrialState.FAIL)
            raise
        trial.set_user_attr("seconds", time.monotonic() - began)
        if pruned:
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, score)
        self._report(number, score, pruned=pruned, seconds=time.monotonic() - began)

    def _catboost_parameters(self, sampled: Mapping[str, Any], *, defaults: bool) -> dict[str, Any]:
        limit = self._settings.max_ctr_complexity
        if defaults:
            return {"max_ctr_complexity": min(4, limit)} if self._categorical() else {}
        parameters = {"bootstrap_type": "Bernoulli", **sampled}
        if self._categorical() and limit == 1:
            parameters["max_ctr_complexity"] = 1
        return parameters

    def _categorical(self) -> bool:
        return any(parameter.name == "one_hot_max_size" for parameter in self._space)

    def _evaluate(
        self, trial: optuna.Trial, parameters: dict[str, Any], number: int
    ) -> tuple[float, bool]:
        """Return the mean score of the folds, and whether the trial was pruned on the way."""
        found: list[float] = []
        trees: list[int] = []
        for index, (train, held) in enumerate(self._folds):
            fold_pool = self._pool.slice(held)
            model = self._trainer.fit(
                parameters, self._pool.slice(train), fold_pool, self._on_tree(number, index)
            )
            found.append(self._score(model, fold_pool, held))
            trees.append(model.tree_count_)
            # The rate CatBoost chose itself depends on the number of rows and trees: keep it.
            parameters = {**parameters, "learning_rate": model.get_all_params()["learning_rate"]}
            mean = _mean(found)
            if not math.isnan(mean):
                trial.report(mean, index)
                if index + 1 < len(self._folds) and trial.should_prune():
                    return mean, True
        trial.set_user_attr("fold_scores", found)
        trial.set_user_attr("trees", trees)
        trial.set_user_attr("parameters", parameters)
        if math.isnan(_mean(found)):
            raise GuestError(
                "metric_undefined",
                f"{self._settings.metric} is undefined on the validation rows",
                "add rows of the rare classes, or choose another metric",
            )
        return _mean(found), False

    def _score(self, model: Any, pool: catboost.Pool, rows: NDArray[np.int64]) -> float:
        answer = self._trainer.answer(model, pool)
        every = scores.score_all(self._settings.task, self._truth[rows], answer, self._weight[rows])
        return every[self._settings.metric]

    def _on_tree(self, number: int, fold: int) -> Any:
        last = time.monotonic()
        most, folds = self._settings.max_iterations, len(self._folds)

        def report(trees: int) -> None:
            nonlocal last
            if time.monotonic() - last >= PROGRESS_EVERY_S:
                last = time.monotonic()
                inside = (fold + trees / most) / folds
                text = f"trial {number + 1}, fold {fold + 1} of {folds}, tree {trees}"
                self._emit.progress(
                    self._clock.share(inside), message=text, eta_s=self._eta_s(inside)
                )

        return report

    def _report(self, number: int, score: float, *, pruned: bool, seconds: float) -> None:
        metric = self._settings.metric
        best = choose(self._study, metric).score
        word = "pruned at" if pruned else "scored"
        self._emit.message(
            f"trial {number + 1} of {self._settings.trials} {word} {metric} {score:.6g} "
            f"in {seconds:.1f} s; best {best:.6g}"
        )
        if not pruned:
            self._emit.metric("trial_score", score, step=number, metric=metric)
        self._emit.metric("best_score", best, step=number, metric=metric)
        self._emit.progress(
            self._clock.share(), message=f"trial {number + 1} done", eta_s=self._eta_s()
        )


class _Clock:
    """How far the search is, in trials and in seconds, earlier attempts counted in."""

    def __init__(self, study: optuna.Study, trials: int, budget_s: float | None) -> None:
        self._study = study
        self._trials = trials
        self._budget_s = budget_s
        self._spent_before_s: float = sum(t.user_attrs.get("seconds", 0.0) for t in finished(study))
        self._began = time.monotonic()
        self._share = 0.0

    def _spent_s(self) -> float:
        return self._spent_before_s + time.monotonic() - self._began

    def time_for_another(self) -> bool:
        """Return whether one more trial may start; the first always may."""
        done = len(finished(self._study))
        late = self._budget_s is not None and self._spent_s() >= self._budget_s
        return done < self._trials and not (done and late)

    def share(self, inside: float = 0.0) -> float:
        """Return the job's progress, ``inside`` being that of the running trial."""
        by_trials = (len(finished(self._study)) + inside) / self._trials
        by_time = self._spent_s() / self._budget_s if self._budget_s else 0.0
        # A fit that is begun again counts its trees from one: never go back.
        self._share = max(self._share, MOST_DONE * min(max(by_trials, by_time), 1.0))
        return self._share

    def remaining_s(self, inside: float = 0.0) -> float | None:
        """Return an estimate of the search's remaining seconds, None before the first trial ends.

        Args:
            inside: how much of the running trial is done.
        """
        trials = finished(self._study)
        if not trials:
            return None
        mean = sum(trial.user_attrs.get("seconds", 0.0) for trial in trials) / len(trials)
        estimate: float = mean * max(self._trials - len(trials) - inside, 0.0)
        if self._budget_s is not None:
            estimate = min(estimate, max(self._budget_s - self._spent_s(), 0.0))
        return estimate


def choose(study: optuna.Study, metric: str) -> Choice:
    """Choose a trial: the best, unless CatBoost's defaults are as good within one standard error.

    With three folds or more the error of the paired difference is known; a gain smaller than it is
    luck, and the defaults generalise better.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    sign = 1.0 if study.direction == optuna.study.StudyDirection.MAXIMIZE else -1.0
    best = max(complete, key=lambda trial: (sign * _value(trial), -trial.number))
    reason = f"best {metric} on validation rows"
    plain = next((trial for trial in complete if DEFAULTS in trial.user_attrs), None)
    if plain is not None and plain is not best and _within_error(best, plain, sign):
        best, reason = plain, "CatBoost's defaults: no trial was better by a standard error"
    order = finished(study)
    attributes = best.user_attrs
    return Choice(
        parameters=attributes["parameters"],
        iterations=max(1, int(np.median(attributes["trees"]))),
        score=_value(best),
        trial=order.index(best),
        reason=reason,
        trials=[_plain(number, trial) for number, trial in enumerate(order)],
    )


def _within_error(best: FrozenTrial, plain: FrozenTrial, sign: float) -> bool:
    gain = sign * (
        np.asarray(best.user_attrs["fold_scores"]) - np.asarray(plain.user_attrs["fold_scores"])
    )
    gain = gain[~np.isnan(gain)]
    if len(gain) < _FOLDS_FOR_AN_ERROR:
        return False
    return bool(gain.mean() <= gain.std(ddof=1) / math.sqrt(len(gain)))


def _value(trial: FrozenTrial) -> float:
    assert trial.value is not None  # only completed trials come here
    return float(trial.value)


def _plain(number: int, trial: FrozenTrial) -> dict[str, Any]:
    return {
        "trial": number,
        "state": trial.state.name.lower(),
        "score": trial.value,
        "params": trial.user_attrs.get("parameters", trial.params),
        "seconds": round(trial.user_attrs.get("seconds", 0.0), 3),
    }


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else math.nan
