"""Where the search looks, what it tries first, and how it chooses."""

from __future__ import annotations

import json
import math

import catboost
import optuna
import pytest
from jobs import train_job
from mixed_data import mixed

from trainbox_plugins.tabular.guest import fit, space
from trainbox_plugins.tabular.guest.fit import Trainer, choose_gpu
from trainbox_plugins.tabular.guest.search import choose
from trainbox_plugins.tabular.guest.settings import Settings
from trainbox_plugins.tabular.guest.study import DEFAULTS

BIG = {"rows": 5000, "features": 10, "categoricals": 3, "max_ctr_complexity": 4, "loss": "RMSE",
       "gpu": False}  # fmt: skip


def by_name(**changes):
    return {p.name: p for p in space.search_space(**{**BIG, **changes})}


def test_space_of_ordinary_data():
    found = by_name()
    assert set(found) == set(space.CATBOOST_DEFAULTS)
    assert (found["depth"].low, found["depth"].high) == (4, 8)
    assert (found["learning_rate"].low, found["learning_rate"].high) == (5e-3, 0.2)
    assert all(found[name].log for name in ("learning_rate", "l2_leaf_reg", "model_size_reg"))


@pytest.mark.parametrize(
    ("changes", "absent"),
    [
        ({"categoricals": 0}, {"one_hot_max_size", "max_ctr_complexity", "model_size_reg"}),
        ({"max_ctr_complexity": 1}, {"max_ctr_complexity"}),
        ({"loss": "MAE"}, {"leaf_estimation_iterations"}),
        ({"gpu": True}, {"rsm"}),
    ],
)
def test_dimensions_that_make_no_sense_are_absent(changes, absent):
    assert set(by_name()) - set(by_name(**changes)) == absent


def test_small_and_wide_data_have_ranges_of_their_own():
    assert (by_name(rows=499)["depth"].low, by_name(rows=499)["depth"].high) == (3, 6)
    assert by_name(rows=499)["l2_leaf_reg"].high == 30
    assert by_name(features=51)["rsm"].low == 0.4
    assert by_name(max_ctr_complexity=2)["max_ctr_complexity"].high == 2


@pytest.mark.parametrize("rows", [100, 5000])
@pytest.mark.parametrize("complexity", [1, 2, 5])
def test_defaults_and_draws_lie_in_the_space(rows, complexity):
    dimensions = list(by_name(rows=rows, max_ctr_complexity=complexity).values())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    points = [space.defaults(dimensions)]
    points += [space.suggest(study.ask(), dimensions) for _ in range(50)]
    for point in points:
        for dimension in dimensions:
            value = point[dimension.name]
            if dimension.choices:
                assert value in dimension.choices
            else:
                assert dimension.low <= value <= dimension.high
            assert isinstance(value, int) or not dimension.integer


def test_first_trial_is_catboosts_defaults_and_later_ones_are_drawn(tmp_path, monkeypatch):
    seen = []
    original = Trainer.fit

    def spy(self, parameters, pool, validation=None, on_tree=None):
        if validation is not None:
            seen.append(dict(parameters))
        return original(self, parameters, pool, validation, on_tree)

    monkeypatch.setattr(Trainer, "fit", spy)
    done = train_job(tmp_path, mixed(150), "regression", trials=3, max_ctr_complexity=2)
    assert seen[0] == {"max_ctr_complexity": 2}
    assert all(later["bootstrap_type"] == "Bernoulli" for later in seen[1:])
    assert all(later["max_ctr_complexity"] <= 2 for later in seen[1:])
    assert set(seen[1]) > {"depth", "learning_rate", "l2_leaf_reg", "grow_policy"}
    told = done.result["search"]["trials"][0]["params"]
    assert told["learning_rate"] > 0  # the rate CatBoost chose is told, and kept for the last fit


def test_numbers_only_need_no_limit_on_combinations(tmp_path, monkeypatch):
    seen = []
    original = Trainer.fit
    monkeypatch.setattr(
        Trainer, "fit", lambda self, p, *a, **k: seen.append(dict(p)) or original(self, p, *a, **k)
    )
    train_job(tmp_path, mixed(120)[["amount", "count", "y"]], "regression", trials=1)
    assert seen[0] == {}


def study_of(direction, trials):
    study = optuna.create_study(direction=direction)
    for number, scores in enumerate(trials):
        attributes = {"fold_scores": scores, "trees": [10, 30, 20], "parameters": {"n": number}}
        if number == 0:
            attributes[DEFAULTS] = True
        mean = sum(s for s in scores if not math.isnan(s)) / len([s for s in scores if s == s])
        study.add_trial(optuna.trial.create_trial(value=mean, user_attrs=attributes))
    return study


@pytest.mark.parametrize(
    ("direction", "trials", "chosen"),
    [
        ("minimize", [[1.0, 1.1, 0.9], [0.5, 0.6, 0.4]], 1),  # better in every fold
        ("minimize", [[1.0, 1.0, 1.0], [0.1, 1.9, 0.9]], 0),  # better by luck
        ("maximize", [[0.7, 0.8, 0.75], [0.8, 0.9, 0.86]], 1),
        ("maximize", [[0.7, 0.8, 0.75], [0.9, 0.6, 0.76]], 0),
        ("maximize", [[0.7, 0.8, 0.75], [0.6, 0.7, 0.7], [0.5, 0.5, 0.5]], 0),
        ("minimize", [[1.0], [0.99]], 1),  # one fold tells no error: the best it is
        ("minimize", [[1.0, math.nan, 1.0, 1.0], [0.5, math.nan, 0.6, 0.5]], 1),
        ("minimize", [[1.0, 1.0], [0.5, 0.5], [0.5, 0.5]], 1),  # the earlier of equals
    ],
)
def test_choice(direction, trials, chosen):
    choice = choose(study_of(direction, trials), "rmse")
    assert choice.trial == chosen
    assert choice.parameters == {"n": chosen}
    assert choice.iterations == 20
    assert ("defaults" in choice.reason) == (chosen == 0 and len(trials) == 2)


def test_gpu_is_taken_only_where_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setattr(fit, "_DEVICES", (tmp_path / "nvidia*",))
    monkeypatch.setattr(fit, "get_gpu_device_count", lambda: 1)
    assert not choose_gpu("auto")
    (tmp_path / "nvidia0").touch()
    assert choose_gpu("auto")
    assert choose_gpu("gpu")
    assert not choose_gpu("cpu")
    monkeypatch.setattr(fit, "get_gpu_device_count", lambda: 0)
    assert not choose_gpu("auto")


def test_gpu_training_is_asked_for_without_what_gpus_lack(monkeypatch):
    asked = {}

    class Recorder:
        def __init__(self, arguments):
            asked.update(arguments)

        def fit(self, pool, **extra):
            asked.update(extra)
            return self

    monkeypatch.setattr(catboost, "CatBoost", Recorder)
    settings = Settings.from_params("binclass", {"target": "y"})
    trainer = Trainer(settings, threads=2, memory_bytes=10**9, gpu=True, class_count=2)
    trainer.fit({"depth": 4}, None, None, lambda trees: None)
    assert asked["task_type"] == "GPU"
    assert not {"callbacks", "used_ram_limit"} & set(asked)
    assert asked["allow_writing_files"] is False
    json.dumps(asked)


def test_too_few_rows_to_sample_are_trained_on_whole():
    settings = Settings.from_params("regression", {"target": "y", "max_iterations": 5})
    trainer = Trainer(settings, threads=1, memory_bytes=0, gpu=False, class_count=0)
    pool = catboost.Pool([[float(i)] for i in range(20)], label=[3.0] * 20)
    model = trainer.fit({"bootstrap_type": "MVS", "subsample": 0.8}, pool)
    assert trainer.answer(model, pool) == pytest.approx([3.0] * 20)
