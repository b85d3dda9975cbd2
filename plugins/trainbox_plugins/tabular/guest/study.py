"""The record of a search on disk, made to survive a kill at any moment.

Every trial is journaled (append and fsync) in the step's scratch folder. A later attempt reads the
journal, gives trials that were cut off up as failed and tries their parameters again; finished
trials are never repeated.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from trainbox_plugins.tabular.guest.settings import Settings

JOURNAL = "search.journal"
DEFAULTS = "defaults"
"""User attribute of the trial that stands for CatBoost's defaults."""

_STARTUP_TRIALS = 8


def open_study(
    folder: Path, settings: Settings, identity: Mapping[str, Any], first: Mapping[str, Any]
) -> optuna.Study:
    """Open or begin the search of these settings on this data.

    Args:
        folder: where the journal lies.
        settings: the job's.
        identity: facts that must be the same for a journal to be continued.
        first: where CatBoost's defaults lie in the space; enqueued if the journal is new.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = folder / JOURNAL
    _repair(path)
    study = _open(path, settings, _name(identity))
    _retry_cut_off(study)
    if not study.get_trials(deepcopy=False):
        study.enqueue_trial(dict(first), user_attrs={DEFAULTS: True})
    return study


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials that count: completed or pruned."""
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    return list(study.get_trials(deepcopy=False, states=states))


def _open(path: Path, settings: Settings, name: str) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study = optuna.create_study(
            storage=storage, study_name=name, direction=settings.direction, load_if_exists=True
        )
        # A sampler begins its random numbers anew with every attempt; without the offset it would
        # draw the trials of the first attempt again.
        study.sampler = optuna.samplers.TPESampler(
            seed=settings.seed + len(study.get_trials(deepcopy=False)),
            multivariate=True,
            n_startup_trials=_STARTUP_TRIALS,
        )
    # Pruning acts between folds, never within a fit: there a low learning rate looks bad early.
    enabled = settings.pruning and settings.validation["kind"] == "kfold"
    study.pruner = (
        optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=0)
        if enabled
        else optuna.pruners.NopPruner()
    )
    return study


def _name(identity: Mapping[str, Any]) -> str:
    text = json.dumps(identity, sort_keys=True, default=str)
    return "search-" + hashlib.sha256(text.encode()).hexdigest()[:16]


def _repair(path: Path) -> None:
    """Cut a line that a kill left half written, and drop the lock of a dead attempt."""
    for lock in path.parent.glob(path.name + ".lock*"):
        lock.unlink()
    if path.exists():
        content = path.read_bytes()
        whole = content.rfind(b"\n") + 1
        if whole != len(content):
            with path.open("rb+") as file:
                file.truncate(whole)


def _retry_cut_off(study: optuna.Study) -> None:
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        parameters = trial.system_attrs.get("fixed_params", trial.params)
        if parameters:
            attributes = {key: trial.user_attrs[key] for key in trial.user_attrs if key == DEFAULTS}
            study.enqueue_trial(parameters, user_attrs=attributes)
