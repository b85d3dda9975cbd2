"""Whole jobs in process: real data in, one proved ONNX file out."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import onnx
import pandas as pd
import pytest
from jobs import prepare, start, train_job
from mixed_data import mixed

from trainbox_plugins.onnx_kit.columns import Column
from trainbox_plugins.onnx_kit.probes import UNSEEN_CATEGORY
from trainbox_plugins.tabular.guest.frame import Frame


def with_classes(rows: int = 300, classes: int = 3) -> pd.DataFrame:
    frame = mixed(rows)
    names = np.asarray(["low", "mid", "high", "top"][:classes], object)
    frame["y"] = names[
        np.digitize(frame["y"], np.quantile(frame["y"], np.arange(1, classes) / classes))
    ]
    return frame


@pytest.fixture(scope="module")
def regression(tmp_path_factory):
    frame = mixed(400)
    frame["always"] = 3
    frame["never"] = pd.Series([None] * len(frame), dtype="float64")
    frame["key"] = [f"id {i}" for i in range(len(frame))]
    frame.loc[5:9, "y"] = None
    return train_job(tmp_path_factory.mktemp("job"), frame, "regression", casts={"day": "DATE"},
                     trials=3)  # fmt: skip


def test_result_tells_the_whole_story(regression):
    result = regression.result
    assert set(result["metrics"]) == {"rmse", "mae", "r2"}
    assert result["metrics"]["rmse"] < result["baseline"]["rmse"]
    assert (result["rows"], result["dropped_rows"]) == (395, 5)
    assert result["holdout_rows"] == 79
    assert set(result["dropped_columns"]) == {"always", "never", "key"}
    assert result["parity"]["passed"] is True
    assert result["parity"]["rows"] >= 1000
    assert result["onnx_bytes"] == len(regression.onnx)
    assert len(result["search"]["trials"]) == 3
    assert result["best_params"]["iterations"] >= 1
    assert sum(result["importance"].values()) == pytest.approx(100)
    assert result["classes"] is None


def test_search_score_and_holdout_are_told_apart(regression):
    search = regression.result["search"]
    assert search["score"] == min(t["score"] for t in search["trials"])
    assert search["score"] != regression.result["metrics"]["rmse"]
    (told,) = regression.metrics("holdout_rmse")
    assert told["value"] == regression.result["metrics"]["rmse"]


def test_signature_names_raw_columns_and_their_types(regression):
    inputs = {i["name"]: (i["type"], i["dtype"]) for i in regression.result["signature"]["inputs"]}
    assert inputs == {
        "amount": ("number", "float"), "count": ("number", "float"),
        "member": ("boolean", "float"), "colour": ("string", "string"),
        "city": ("string", "string"), "day": ("datetime", "int64"),
        "moment": ("datetime", "int64"),
    }  # fmt: skip
    assert regression.result["signature"]["outputs"] == [
        {"name": "prediction", "type": "number", "dtype": "float", "shape": ["N", 1]}
    ]
    graph = onnx.load_from_string(regression.onnx).graph
    assert [i.name for i in graph.input] == list(inputs)


def test_metadata_travels_in_the_file(regression):
    metadata = regression.metadata
    assert metadata["trainbox.task"] == "regression"
    assert metadata["trainbox.target"] == "y"
    assert metadata["trainbox.job_id"] == "job_1"
    assert metadata["trainbox.dataset_digest"] == "sha256:ab"
    assert json.loads(metadata["trainbox.schema"]) == regression.result["signature"]
    assert json.loads(metadata["trainbox.parity"]) == regression.result["parity"]
    assert "trainbox.classes" not in metadata
    seen = {i["name"]: i["training"] for i in json.loads(metadata["trainbox.schema"])["inputs"]}
    assert seen["amount"]["min"] < seen["amount"]["median"] < seen["amount"]["max"]
    assert seen["colour"]["categories"] == 10
    assert "größer" in seen["colour"]["examples"]
    assert seen["moment"]["min"].startswith("1950")


def test_events_tell_progress_and_every_trial(regression):
    fractions = [e["fraction"] for e in regression.events if e["t"] == "progress"]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    progress = [e for e in regression.events if e["t"] == "progress"]
    first = next(i for i, e in enumerate(progress) if e.get("message") == "trial 1 done")
    assert all(e["eta_s"] > 0 for e in progress[first:-1])
    assert progress[-1]["eta_s"] == 0
    told = [e.get("message", "") for e in progress]
    for stage in ("measuring on the holdout", "training on all rows", "writing and checking"):
        assert any(text.startswith(stage) for text in told)
    scores = regression.metrics("trial_score")
    assert [s["step"] for s in scores] == [0, 1, 2]
    best = [s["value"] for s in regression.metrics("best_score")]
    assert best == list(np.minimum.accumulate([s["value"] for s in scores]))
    assert sum("trial" in text for text in regression.messages) == 3


def test_messages_say_what_was_left_out(regression):
    text = "\n".join(regression.messages)
    assert "5 of 400 rows have no value in 'y'" in text
    assert "'always' is no feature: always the same" in text
    assert "'never' is no feature: always missing" in text
    assert "'key' is no feature: every row has another text" in text


def test_whole_numbers_that_float32_cannot_tell_apart_are_told(tmp_path):
    frame = mixed(100)[["amount", "y"]]
    frame["order"] = 2**24 + np.arange(100)
    frame["small"] = np.arange(100)
    done = train_job(tmp_path, frame, "regression", trials=1)
    (told,) = [text for text in done.messages if "whole numbers above 2^24" in text]
    assert "'order'" in told
    assert "100 distinct values become 51" in told


def test_the_file_predicts_alone(regression):
    table = {
        "amount": np.float32([150, np.nan]), "count": np.float32([5, np.nan]),
        "member": np.float32([1, np.nan]), "colour": np.asarray(["red", ""], object),
        "city": np.asarray(["city 1", UNSEEN_CATEGORY], object),
        "day": np.asarray([0, -(2**63)]), "moment": np.asarray([-5, -(2**63)]),
    }  # fmt: skip
    answer = regression.predict(table)["prediction"]
    assert answer.shape == (2, 1)
    assert answer.dtype == np.float32
    assert np.isfinite(answer).all()


def test_same_seed_same_file(tmp_path):
    frame = mixed(150)
    files = [train_job(tmp_path / str(n), frame, "regression", seed=3).onnx for n in range(2)]
    assert files[0] == files[1]
    other = train_job(tmp_path / "other", frame, "regression", seed=4).onnx
    assert other != files[0]


LABELS = {
    "string": (["no", "yes ", "ünsure"], "string", object),
    "integer": ([-3, 7, 2**40], "int64", np.int64),
    "float": ([0.5, 1.5, 2.25], "double", np.float64),
    "integral_float": ([1.0, 2.0, 3.0], "double", np.float64),
    "datetime": (
        [np.datetime64("1960-01-01T00:00:00"), np.datetime64("2001-01-01T00:00:00"),
         np.datetime64("2020-02-29T12:00:00")], "int64", np.int64,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", LABELS)
@pytest.mark.parametrize("task", ["binclass", "multiclass"])
def test_labels_keep_their_own_type(tmp_path, kind, task):
    labels, element, dtype = LABELS[kind]
    count = 2 if task == "binclass" else 3
    frame = with_classes(200, count)
    order = {name: labels[i] for i, name in enumerate(["low", "mid", "high"][:count])}
    frame["y"] = [order[name] for name in frame["y"]]
    done = train_job(tmp_path, frame, task, trials=1)
    outputs = {o["name"]: o for o in done.result["signature"]["outputs"]}
    assert outputs["prediction"]["dtype"] == element
    known = done.result["classes"]
    if kind == "datetime":
        labels = [int(label.astype("datetime64[s]").astype(np.int64)) for label in labels]
    assert known == labels[:count]
    assert json.loads(done.metadata["trainbox.classes"]) == known
    table = rows_of(frame, done)
    answer = done.predict(table)
    assert answer["prediction"].dtype == dtype
    assert answer["prediction"].shape == (5, 1)
    assert answer["probabilities"].shape == (5, count)
    assert answer["classes"].tolist() == known
    best = answer["probabilities"].argmax(axis=1)
    assert answer["prediction"][:, 0].tolist() == [known[i] for i in best]


def rows_of(frame: pd.DataFrame, done) -> dict[str, np.ndarray]:
    table = {}
    for column in done.result["signature"]["inputs"]:
        values = frame[column["name"]].iloc[:5]
        if column["type"] == "string":
            table[column["name"]] = values.fillna("").to_numpy(object)
        elif column["type"] == "datetime":
            table[column["name"]] = values.to_numpy().astype("datetime64[s]").astype(np.int64)
        else:
            table[column["name"]] = values.astype("Float64").to_numpy(np.float32, na_value=np.nan)
    return table


def test_boolean_labels(tmp_path):
    frame = mixed(200)
    frame["y"] = pd.array(frame["y"] > frame["y"].median(), dtype="boolean")
    frame.loc[3, "y"] = None
    done = train_job(tmp_path, frame, "binclass", trials=1)
    assert done.result["classes"] == [False, True]
    assert done.result["dropped_rows"] == 1
    assert done.predict(rows_of(frame, done))["prediction"].dtype == bool


def test_decimal_and_narrow_columns(tmp_path):
    frame = mixed(150)[["amount", "count", "moment", "y"]]
    casts = {"amount": "DECIMAL(12,2)", "count": "HUGEINT", "y": "DECIMAL(9,3)",
             "moment": "TIMESTAMP_MS"}  # fmt: skip
    done = train_job(tmp_path, frame, "regression", casts=casts, trials=1)
    kinds = {i["name"]: i["type"] for i in done.result["signature"]["inputs"]}
    assert kinds == {"amount": "number", "count": "number", "moment": "datetime"}


@pytest.mark.parametrize("metric", ["auc", "logloss", "accuracy", "f1"])
def test_every_metric_of_binclass_searches(tmp_path, metric):
    done = train_job(tmp_path, with_classes(200, 2), "binclass", metric=metric)
    search = done.result["search"]
    better = min if search["direction"] == "minimize" else max
    assert search["score"] == better(t["score"] for t in search["trials"])
    assert set(done.result["metrics"]) == {"auc", "logloss", "accuracy", "f1"}


@pytest.mark.parametrize("metric", ["mae", "r2"])
def test_other_metrics_of_regression(tmp_path, metric):
    done = train_job(tmp_path, mixed(200), "regression", metric=metric)
    assert done.result["search"]["metric"] == metric


def test_kfold_scores_every_fold_and_may_prune(tmp_path):
    done = train_job(tmp_path, mixed(200), "regression", trials=8,
                     validation={"kind": "kfold", "folds": 3})  # fmt: skip
    trials = done.result["search"]["trials"]
    assert len(trials) == 8
    assert {t["state"] for t in trials} <= {"complete", "pruned"}
    assert trials[0]["state"] == "complete"
    assert [m["step"] for m in done.metrics("best_score")] == list(range(8))


def test_weights_change_the_model_and_are_no_feature(tmp_path):
    frame = mixed(300)[["amount", "city", "y"]]
    noisy = np.arange(len(frame)) % 2 == 1
    frame.loc[noisy, "y"] = 50.0
    frame["w"] = np.where(noisy, 0.0, 2.0)
    weighted = train_job(tmp_path / "w", frame, "regression", sample_weight="w", trials=1,
                         max_iterations=100)  # fmt: skip
    plain = train_job(tmp_path / "p", frame, "regression", ignore=["w"], trials=1)
    assert [i["name"] for i in weighted.result["signature"]["inputs"]] == ["amount", "city"]
    assert weighted.result["weighted"] is True
    table = {"amount": np.float32([100]), "city": np.asarray(["city 1"], object)}
    assert weighted.predict(table)["prediction"][0, 0] < 12
    assert plain.predict(table)["prediction"][0, 0] > 15
    assert weighted.result["metrics"]["rmse"] < 2  # the rows of weight 0 do not count


def test_time_budget_stops_new_trials_and_still_delivers(tmp_path, monkeypatch):
    from trainbox_plugins.tabular.guest import search

    clock = iter(np.arange(0, 1e6, 0.4))
    monkeypatch.setattr(search.time, "monotonic", lambda: float(next(clock)))
    done = train_job(tmp_path, mixed(150), "regression", trials=200, time_budget_s=10,
                     max_iterations=5)  # fmt: skip
    tried = len(done.result["search"]["trials"])
    assert 1 <= tried < 20
    assert done.result["parity"]["passed"]


def test_ten_rows(tmp_path):
    frame = mixed(10)[["amount", "colour", "y"]]
    done = train_job(tmp_path, frame, "regression", trials=3)
    assert done.result["rows"] == 10
    assert done.result["holdout_rows"] == 2


def test_ten_rows_of_two_classes_with_kfold(tmp_path):
    frame = pd.DataFrame({"x": np.arange(10.0), "s": list("abcabcabca"), "y": [0, 1] * 5})
    done = train_job(
        tmp_path, frame, "binclass", trials=3, validation={"kind": "kfold", "folds": 10}
    )
    assert done.result["parity"]["passed"]


def test_a_class_of_one_row_is_learnt_and_never_held_back(tmp_path):
    frame = with_classes(150, 3)
    frame.loc[7, "y"] = "unique"
    for validation in ({"kind": "holdout", "fraction": 0.2}, {"kind": "kfold", "folds": 4}):
        done = train_job(tmp_path / validation["kind"], frame, "multiclass", validation=validation)
        assert done.result["classes"] == ["high", "low", "mid", "unique"]
        assert done.result["parity"]["passed"]


def test_column_missing_in_a_whole_part(tmp_path):
    frame = mixed(120)[["amount", "colour", "y"]]
    frame["mostly"] = np.nan
    frame.loc[[3, 4], "mostly"] = [1.0, 2.0]
    frame["rare"] = None
    frame.loc[[5, 6], "rare"] = "word"
    done = train_job(tmp_path, frame, "regression", casts={"rare": "VARCHAR"})
    names = [i["name"] for i in done.result["signature"]["inputs"]]
    assert names == ["amount", "colour", "mostly", "rare"]


def test_very_many_categories(tmp_path):
    frame = mixed(2000)[["amount", "y"]]
    frame["id"] = [f"number {i // 2}" for i in range(2000)]
    done = train_job(tmp_path, frame, "regression")
    seen = {i["name"]: i["training"] for i in done.result["signature"]["inputs"]}
    assert seen["id"]["categories"] == 1000
    assert len(seen["id"]["examples"]) == 10


def test_identifier_can_be_insisted_on(tmp_path):
    frame = mixed(100)[["amount", "y"]]
    frame["key"] = [f"id {i}" for i in range(100)]
    done = train_job(tmp_path, frame, "regression", features=["key", "amount"], trials=1)
    assert [i["name"] for i in done.result["signature"]["inputs"]] == ["key", "amount"]


def test_odd_column_names(tmp_path):
    frame = mixed(120)[["amount", "colour", "y"]]
    frame.columns = ['a "quoted" näme; DROP TABLE x', "/constant_1", "the target's"]
    done = train_job(tmp_path, frame, "regression", target="the target's", trials=1)
    assert [i.name for i in onnx.load_from_string(done.onnx).graph.input] == list(frame.columns[:2])


def test_column_named_like_a_calendar_part(tmp_path):
    frame = mixed(200)[["day", "amount", "y"]].rename(columns={"amount": "day.year"})
    done = train_job(tmp_path, frame, "regression", casts={"day": "DATE"})
    assert done.result["parity"]["passed"]
    assert done.result["importance"]["day.year"] > 20


def test_memory_limit_reaches_the_libraries(tmp_path):
    prepare(tmp_path, mixed(120))
    done = start(tmp_path, "regression", memory_bytes=2 * 1024**3)
    assert done.result["parity"]["passed"]


def test_text_with_a_zero_character(tmp_path):
    frame = mixed(120)[["amount", "y"]]
    frame["s"] = np.asarray(["a", "a\x00", "a\x00b"], object)[np.arange(120) % 3]
    frame["y"] += (np.arange(120) % 3) * 5.0
    done = train_job(tmp_path, frame, "regression", trials=1)
    table = {"amount": np.float32([100] * 3), "s": np.asarray(["a", "a\x00", "a\x00b"], object)}
    assert len(np.unique(done.predict(table)["prediction"])) == 3


def test_only_dates(tmp_path):
    frame = mixed(200)[["day", "y"]]
    done = train_job(tmp_path, frame, "regression", casts={"day": "DATE"})
    assert done.result["importance"] == {"day": pytest.approx(100)}


def test_infinite_numbers_and_dates(tmp_path):
    frame = mixed(120)[["amount", "day", "y"]]
    frame.loc[0, "amount"] = np.inf
    frame.loc[1, "amount"] = -np.inf
    frame.loc[2, "amount"] = 1e300
    done = train_job(tmp_path, frame, "regression", trials=1)
    seen = done.result["signature"]["inputs"][0]["training"]
    assert seen["max"] == float(np.finfo(np.float32).max)


def test_a_graph_that_differs_is_refused(tmp_path, monkeypatch):
    from trainbox_guest.run import GuestError

    from trainbox_plugins.tabular.guest import export

    def sabotaged(model, pool, folder):
        parsed = read_back(model, pool, folder)
        return dataclasses.replace(parsed, bias=parsed.bias + 0.01)

    read_back = export.read_back
    monkeypatch.setattr(export, "read_back", sabotaged)
    prepare(tmp_path, mixed(120))
    with pytest.raises(GuestError) as caught:
        start(tmp_path, "regression")
    assert caught.value.code == "parity_failed"
    assert "expected" in caught.value.message
    assert not (tmp_path / "out" / "model.onnx").exists()
    assert not (tmp_path / "out" / "result.json").exists()


def test_training_features_come_from_the_calendar_graph():
    seconds = np.asarray([0, 86_399, -1, -(2**63)])
    features = Frame((Column("t", "datetime"),), {"t": seconds}).features().to_numpy()
    assert features[0].tolist() == [1970, 1, 1, 3, 0, 1, 0, 0]
    assert features[1].tolist() == [1970, 1, 1, 3, 23, 1, 0, 86_399]
    assert features[2].tolist() == [1969, 12, 31, 2, 23, 365, -1, 86_399]
    assert np.isnan(features[3]).all()
