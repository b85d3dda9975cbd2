"""Rows that train, rows that score, rows nobody sees."""

from __future__ import annotations

import numpy as np
import pytest

from trainbox_plugins.tabular.guest.split import hold_out, make_folds

HOLDOUT = {"kind": "holdout", "fraction": 0.2}


def random():
    return np.random.default_rng(0)


@pytest.mark.parametrize("count", [10, 11, 99, 1000])
@pytest.mark.parametrize("fraction", [0.05, 0.2, 0.5])
def test_holdout_of_numbers_parts_all_rows(count, fraction):
    stay, away = hold_out(None, count, fraction, random())
    assert sorted([*stay, *away]) == list(range(count))
    assert len(away) == max(1, round(count * fraction))


def test_holdout_keeps_the_shares_of_classes():
    codes = np.repeat([0, 1, 2], [700, 250, 50])
    _, away = hold_out(codes, 1000, 0.2, random())
    assert np.bincount(codes[away]).tolist() == [140, 50, 10]


@pytest.mark.parametrize("rare", [1, 2, 3, 4])
def test_rare_classes_keep_two_rows_to_train_and_score(rare):
    codes = np.repeat([0, 1], [40, rare])
    stay, away = hold_out(codes, len(codes), 0.5, random())
    assert (codes[stay] == 1).sum() == max(min(rare, 2), rare - max(1, round(rare / 2)))
    assert (codes[away] == 1).sum() == (0 if rare <= 2 else min(rare - 2, round(rare / 2)))


@pytest.mark.parametrize("folds", [2, 5, 10])
@pytest.mark.parametrize("classes", [None, 3])
def test_folds_score_every_row_once(folds, classes):
    codes = None if classes is None else random().integers(0, classes, 103)
    made = make_folds(codes, 103, {"kind": "kfold", "folds": folds}, random())
    assert len(made) == folds
    assert sorted(np.concatenate([held for _, held in made])) == list(range(103))
    for train, held in made:
        assert not set(train) & set(held)
        assert len(train) + len(held) == 103
    sizes = [len(held) for _, held in made]
    assert max(sizes) - min(sizes) <= 1


def test_folds_are_stratified():
    codes = np.repeat([0, 1], [90, 10])
    made = make_folds(codes, 100, {"kind": "kfold", "folds": 5}, random())
    assert [int((codes[held] == 1).sum()) for _, held in made] == [2] * 5


def test_class_of_one_row_always_trains():
    codes = np.asarray([0] * 10 + [1] * 10 + [2])
    for validation in ({"kind": "kfold", "folds": 5}, HOLDOUT):
        for train, held in make_folds(codes, 21, validation, random()):
            assert 20 in train
            assert 20 not in held


def test_class_of_two_rows_is_never_wholly_held():
    codes = np.asarray([0] * 20 + [1, 1])
    for validation in ({"kind": "kfold", "folds": 2}, {"kind": "kfold", "folds": 10}, HOLDOUT):
        for train, _ in make_folds(codes, 22, validation, random()):
            assert (codes[train] == 1).any()


def test_never_more_folds_than_half_the_rows():
    assert len(make_folds(None, 8, {"kind": "kfold", "folds": 10}, random())) == 4


def test_same_seed_same_rows():
    first, again = (make_folds(None, 50, HOLDOUT, random()) for _ in range(2))
    assert np.array_equal(first[0][1], again[0][1])
