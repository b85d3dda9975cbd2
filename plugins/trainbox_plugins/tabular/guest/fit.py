"""Trains one CatBoost model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import catboost
import numpy as np
from catboost.utils import get_gpu_device_count

from trainbox_guest.run import GuestError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainbox_plugins.tabular.guest.settings import Settings

_DEVICES = (Path("/dev/nvidia[0-9]*"), Path("/dev/dxg"))

OnTree = Callable[[int], None]


def choose_gpu(device: str) -> bool:
    """Return whether to train on a GPU.

    Raises:
        GuestError: ``no_gpu``: one was asked for and none is visible.
    """
    # Without a device CatBoost's own count writes a driver error to the log: look for one first.
    present = any(any(path.parent.glob(path.name)) for path in _DEVICES)
    visible = device != "cpu" and present and get_gpu_device_count() > 0
    if device == "gpu" and not visible:
        raise GuestError("no_gpu", "device is 'gpu' but the sandbox sees none", "use auto or cpu")
    return visible


@dataclass(frozen=True)
class Trainer:
    """What every fit of a job has in common.

    Attributes:
        threads: CPU threads; never the host's core count.
        memory_bytes: the sandbox's limit, 0 for none.
        class_count: C, 0 for regression.
    """

    settings: Settings
    threads: int
    memory_bytes: int
    gpu: bool
    class_count: int

    def fit(
        self,
        parameters: Mapping[str, Any],
        pool: catboost.Pool,
        validation: catboost.Pool | None = None,
        on_tree: OnTree | None = None,
    ) -> catboost.CatBoost:
        """Train; with ``validation`` stop early and keep the best number of trees.

        Args:
            parameters: hyper-parameters, among them ``iterations`` if it is not the job's most.
            pool: rows to train on.
            validation: rows to stop by.
            on_tree: called with the number of trees so far; not on a GPU, which has no callbacks.

        Raises:
            GuestError: ``training_failed``: CatBoost refuses the data.
        """
        arguments = {**self._common(), **parameters}
        extra: dict[str, Any] = {}
        if on_tree is not None and not self.gpu:
            extra["callbacks"] = [_TreeCounter(on_tree)]
        if validation is not None:
            extra["eval_set"] = validation
            extra["early_stopping_rounds"] = self.settings.early_stopping_rounds
            arguments["use_best_model"] = True
        try:
            return _fit(arguments, pool, extra)
        except catboost.CatBoostError as error:
            reason = str(error).split(": ", 1)[-1]
            raise GuestError(
                "training_failed", f"CatBoost cannot train on this: {reason}", "look at the data"
            ) from error

    def answer(self, model: catboost.CatBoost, pool: catboost.Pool) -> NDArray[np.float64]:
        """Return numbers [N], or probabilities [N, C]."""
        kind = "Probability" if self.class_count else "RawFormulaVal"
        out = model.predict(pool, prediction_type=kind, thread_count=self.threads)
        return np.asarray(out, np.float64)

    def _common(self) -> dict[str, Any]:
        arguments: dict[str, Any] = {
            "loss_function": self.settings.loss,
            "iterations": self.settings.max_iterations,
            "random_seed": self.settings.seed,
            "thread_count": self.threads,
            "boosting_type": "Plain",
            "allow_writing_files": False,  # the sandbox's root is read-only
            "allow_const_label": True,  # a fold of a rare class may hold one label only
            "logging_level": "Silent",
        }
        if self.settings.loss == "MultiClass":
            arguments["classes_count"] = self.class_count  # a fold may lack a class
        if self.gpu:
            arguments["task_type"] = "GPU"
        elif self.memory_bytes:
            arguments["used_ram_limit"] = int(self.memory_bytes * 0.7)
        return arguments


def _fit(
    arguments: Mapping[str, Any], pool: catboost.Pool, extra: Mapping[str, Any]
) -> catboost.CatBoost:
    model = catboost.CatBoost(dict(arguments))
    try:
        return model.fit(pool, **extra)
    except catboost.CatBoostError as error:
        # Few rows, or rows that are all predicted exactly, leave nothing to draw a sample from.
        if "sampling units" not in str(error):
            raise
    rest = {key: value for key, value in arguments.items() if key != "subsample"}
    return catboost.CatBoost({**rest, "bootstrap_type": "No"}).fit(pool, **extra)


class _TreeCounter:
    """CatBoost's callback protocol."""

    def __init__(self, on_tree: OnTree) -> None:
        self._on_tree = on_tree

    def after_iteration(self, info: Any) -> bool:
        self._on_tree(info.iteration)
        return True
