"""Categories that share a 32-bit hash, and columns of very many categories."""

from __future__ import annotations

import catboost
import numpy as np
import pandas as pd
import pytest
from models import read_json, run

from trainbox_plugins.onnx_kit.catboost_json import parse_model, signed_hash
from trainbox_plugins.onnx_kit.columns import Column
from trainbox_plugins.onnx_kit.ctr_tables import MULTIPLIER, hash_weights
from trainbox_plugins.onnx_kit.pipeline import PipelineError, build_onnx
from trainbox_plugins.tabular.guest.export import export_model
from trainbox_plugins.tabular.guest.frame import Coded, Frame
from trainbox_plugins.tabular.guest.native import NativeModel

MANY = 150_000


@pytest.fixture(scope="module")
def many():
    """A model over a column of so many categories that some share a hash."""
    random = np.random.default_rng(0)
    texts = np.asarray([""] + [f"customer {i}" for i in range(MANY)], object)
    codes = np.concatenate([np.arange(1, MANY + 1), random.integers(1, 300, 30_000)])
    number = random.normal(size=len(codes)).astype(np.float32)
    used, codes = np.unique(codes, return_inverse=True)
    frame = Frame(
        (Column("number", "number"), Column("customer", "string")),
        {"number": number, "customer": Coded(codes.astype(np.int32), texts[used])},
    )
    target = number + (codes % 7 == 0) * 2.0
    pool = catboost.Pool(frame.features(), label=target, cat_features=[1])
    model = catboost.CatBoost(
        {"loss_function": "RMSE", "iterations": 8, "depth": 4, "thread_count": 2, "random_seed": 0,
         "logging_level": "Silent", "allow_writing_files": False, "model_size_reg": 0}
    )  # fmt: skip
    model.fit(pool)
    return frame, pool, model, target


def test_categories_that_share_a_hash_answer_alike(many, tmp_path):
    frame, pool, model, target = many
    parsed = read_json(model, pool)
    texts = frame.values["customer"].texts
    hidden = [text for text in texts if text not in parsed.category_hashes]
    assert hidden, "no two of the categories share a hash: the test would prove nothing"
    rows = np.flatnonzero(np.isin(texts[frame.values["customer"].codes], hidden))
    artifact = export_model(
        model, pool, frame, classes=None, probe_rows=rows, spread=float(target.std()),
        metadata={},
        folder=tmp_path, threads=2, seed=0,
    )  # fmt: skip
    assert artifact.parity.passed
    got = run(artifact.onnx, frame, frame.table(rows))["prediction"][:, 0]
    want = NativeModel(model, frame.columns, None, 2)(frame.table(rows))["prediction"]
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_entries_that_read_like_unknown_ones_are_left_out(many):
    frame, pool, model, _ = many
    parsed = read_json(model, pool)
    groups = sum(len(table.hashes) for table in parsed.ctr_tables.values())
    onnx_bytes = len(build_onnx(parsed, frame.columns, categories=frame.categories()))
    # Names take their own length; a table kept whole would add ten bytes a key and more.
    names = sum(len(text) for text in frame.values["customer"].texts)
    assert groups > MANY
    assert onnx_bytes < names + 25 * MANY


def test_hash_weights_are_catboosts_recurrence():
    random = np.random.default_rng(0)
    for count in range(1, 8):
        values = [int(v) for v in random.integers(-(2**31), 2**31, count)]
        state = 0
        for value in values:
            state = MULTIPLIER * (state + MULTIPLIER * value) % 2**64
        dot = sum(w * v for w, v in zip(hash_weights(count), values, strict=True)) % 2**64
        assert dot == state


@pytest.mark.parametrize(
    ("raw", "signed"),
    [(0, 0), (2**31 - 1, 2**31 - 1), (2**31, -(2**31)), (2**32 - 1, -1), (-1, -1)],
)
def test_signed_hash(raw, signed):
    assert signed_hash(raw) == signed


def test_other_documents_are_refused():
    for text in ("", "[]", "{}", '{"features_info": {"text_features": [1]}}', "null"):
        with pytest.raises(ValueError, match=r"CatBoost JSON|cannot be rebuilt"):
            parse_model(text)


def test_model_written_without_its_pool_is_refused(tmp_path):
    features = pd.DataFrame({"c": ["a", "b"] * 20})
    model = catboost.CatBoostRegressor(iterations=2, verbose=0, allow_writing_files=False)
    model.fit(features, np.arange(40), cat_features=[0])
    model.save_model(str(tmp_path / "m.json"), format="json")
    with pytest.raises(PipelineError, match="without its pool"):
        build_onnx(parse_model((tmp_path / "m.json").read_bytes()), [Column("c", "string")])
