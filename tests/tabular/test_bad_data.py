"""Data that cannot be trained on: one clear error each."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from jobs import train_job
from mixed_data import mixed
from trainbox_guest.run import GuestError

from trainbox_plugins.tabular.guest import fit


def base(rows: int = 60) -> pd.DataFrame:
    return mixed(rows)[["amount", "colour", "y"]]


def changed(**columns) -> pd.DataFrame:
    return base().assign(**columns)


CASES = {
    "no target column": (base(), "regression", {"target": "nothing"}, "unknown_column"),
    "no feature column": (base(), "regression", {"features": ["gone"]}, "unknown_column"),
    "no ignored column": (base(), "regression", {"ignore": ["gone"]}, "unknown_column"),
    "no weight column": (base(), "regression", {"sample_weight": "gone"}, "unknown_column"),
    "text for a number": (changed(y="text"), "regression", {}, "bad_target"),
    "truth for a number": (changed(y=[True, False] * 30), "regression", {}, "bad_target"),
    "infinite target": (changed(y=[np.inf] + [1.0] * 59), "regression", {}, "bad_target"),
    "constant target": (changed(y=4.5), "regression", {}, "constant_target"),
    "constant as float32": (changed(y=1.7e9 + np.arange(60) / 2), "regression", {},
                            "constant_target"),
    "few rows": (base(9), "regression", {}, "too_few_rows"),
    "few targets": (changed(y=[1.0] * 9 + [None] * 51), "regression", {}, "too_few_rows"),
    "one class": (changed(y="a"), "binclass", {}, "wrong_class_count"),
    "three classes": (changed(y=list("abc") * 20), "binclass", {}, "wrong_class_count"),
    "two classes": (changed(y=list("ab") * 30), "multiclass", {}, "wrong_class_count"),
    "empty text is no class": (changed(y=["", "b"] * 30), "binclass", {}, "wrong_class_count"),
    "rare class": (changed(y=["a"] * 58 + ["b"] * 2), "binclass", {}, "class_too_small"),
    "all classes rare": (changed(y=[f"c{i // 2}" for i in range(60)]), "multiclass", {},
                         "class_too_small"),
    "very many classes": (
        pd.DataFrame({"x": np.arange(900.0), "y": np.arange(900) // 3}), "multiclass", {},
        "too_many_classes",
    ),
    "output's name": (base().rename(columns={"amount": "prediction"}), "regression", {},
                      "reserved_column"),
    "nothing varies": (changed(amount=1.0, colour="x"), "regression", {}, "no_usable_features"),
    "text weight": (changed(w="x"), "regression", {"sample_weight": "w"}, "bad_weight"),
    "negative weight": (changed(w=[-1.0] + [1.0] * 59), "regression", {"sample_weight": "w"},
                        "bad_weight"),
    "missing weight": (changed(w=[None] + [1.0] * 59), "regression", {"sample_weight": "w"},
                       "bad_weight"),
    "no weight at all": (changed(w=0.0), "regression", {"sample_weight": "w"}, "bad_weight"),
    "no gpu": (base(), "regression", {"device": "gpu"}, "no_gpu"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_clear_error(tmp_path, monkeypatch, case):
    frame, task, params, code = CASES[case]
    monkeypatch.setattr(fit, "get_gpu_device_count", lambda: 0)
    with pytest.raises(GuestError) as caught:
        train_job(tmp_path, frame, task, **{"target": "y", **params})
    assert caught.value.code == code
    assert len(caught.value.message) > 20
    assert not list((tmp_path / "out").iterdir())


def test_nested_columns_are_left_out_with_a_word(tmp_path):
    frame = base()
    frame["list"] = [[1, 2]] * len(frame)
    done = train_job(tmp_path, frame, "regression", target="y", trials=1)
    assert "not supported" in done.result["dropped_columns"]["list"]


def test_labels_beyond_64_bits_are_refused(tmp_path):
    frame = changed(y=["1", str(2**64 - 1)] * 30)
    with pytest.raises(GuestError, match="30 rows beyond 64 bits"):
        train_job(tmp_path, frame, "binclass", casts={"y": "UBIGINT"})


def test_columns_that_differ_only_in_lost_digits_are_told_so(tmp_path):
    frame = changed(
        fine=1e9 + np.arange(60) / 60,
        moment=pd.Timestamp("2024-01-01") + pd.to_timedelta(np.arange(60), "us"),
        same=7.0,
        day=pd.Timestamp("2024-01-01"),
    )
    dropped = train_job(tmp_path, frame, "regression", trials=1).result["dropped_columns"]
    assert dropped["fine"].startswith("always the same once rounded to float32")
    assert dropped["moment"].startswith("always the same to whole seconds")
    assert (dropped["same"], dropped["day"]) == ("always the same", "always the same")


def test_a_target_that_float32_blurs_is_warned_of(tmp_path):
    frame = changed(y=1_700_000_000 + np.arange(60) * 10)
    events = train_job(tmp_path / "blurred", frame, "regression", trials=1).events
    (told,) = [e for e in events if e["t"] == "message" and "steps of 128" in e["text"]]
    assert told["level"] == "warning"
    assert "60 distinct values become 6." in told["text"]
    frame = changed(y=np.arange(60) * 10.0)
    assert "steps of" not in "".join(
        train_job(tmp_path / "clear", frame, "regression", trials=1).messages
    )
