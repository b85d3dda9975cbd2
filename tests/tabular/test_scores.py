"""Our scores against scikit-learn's, weighted and not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics as sk

from trainbox_plugins.tabular.guest.scores import score_all

RANDOM = np.random.default_rng(0)
ROWS = 500
WEIGHTS = [np.ones(ROWS), RANDOM.gamma(1.0, size=ROWS), (RANDOM.random(ROWS) < 0.5) * 1.0]


@pytest.mark.parametrize("weight", WEIGHTS)
def test_regression(weight):
    truth = RANDOM.normal(5, 2, ROWS)
    answer = truth + RANDOM.normal(0, 1, ROWS)
    got = score_all("regression", truth, answer, weight)
    assert got == pytest.approx(
        {
            "rmse": sk.root_mean_squared_error(truth, answer, sample_weight=weight),
            "mae": sk.mean_absolute_error(truth, answer, sample_weight=weight),
            "r2": sk.r2_score(truth, answer, sample_weight=weight),
        }
    )


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("digits", [1, 9])  # one digit makes many ties
def test_binclass(weight, digits):
    truth = RANDOM.integers(0, 2, ROWS)
    positive = np.clip(0.25 + truth * 0.3 + RANDOM.normal(0, 0.2, ROWS), 0.05, 0.95).round(digits)
    positive[np.abs(positive - 0.5) < 1e-9] = 0.4  # a tie's label is a matter of taste
    answer = np.stack([1 - positive, positive], axis=1)
    got = score_all("binclass", truth, answer, weight)
    guess = (positive > 0.5).astype(int)
    assert got == pytest.approx(
        {
            "auc": sk.roc_auc_score(truth, positive, sample_weight=weight),
            "logloss": sk.log_loss(truth, positive, sample_weight=weight),
            "accuracy": sk.accuracy_score(truth, guess, sample_weight=weight),
            "f1": sk.f1_score(truth, guess, sample_weight=weight),
        }
    )


@pytest.mark.parametrize("weight", WEIGHTS[:2])
def test_multiclass(weight):
    truth = RANDOM.integers(0, 4, ROWS)
    raw = RANDOM.normal(size=(ROWS, 4)) + np.eye(4)[truth]
    answer = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    got = score_all("multiclass", truth, answer, weight)
    guess = answer.argmax(axis=1)
    assert got == pytest.approx(
        {
            "logloss": sk.log_loss(truth, answer, sample_weight=weight),
            "accuracy": sk.accuracy_score(truth, guess, sample_weight=weight),
            "f1_macro": sk.f1_score(truth, guess, average="macro", sample_weight=weight),
        }
    )


def test_undefined_scores_are_nan_and_no_exception():
    one = np.ones(3)
    both = np.stack([one * 0.4, one * 0.6], axis=1)
    assert math.isnan(score_all("binclass", one.astype(int), both, one)["auc"])
    assert math.isnan(score_all("regression", one, one, one)["r2"])
    assert math.isnan(score_all("regression", one, one, one * 0)["rmse"])


def test_certain_and_wrong_costs_a_finite_logloss():
    answer = np.asarray([[1.0, 0.0]])
    got = score_all("binclass", np.asarray([1]), answer, np.ones(1))["logloss"]
    assert 30 < got < 40
