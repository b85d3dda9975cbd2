"""Models of random shape: whatever CatBoost trains, the graph answers."""

from __future__ import annotations

import numpy as np
import pytest
from models import train

from trainbox_plugins.onnx_kit.parity import check_parity

COLUMNS = ["amount", "count", "member", "colour", "city", "day", "moment"]


@pytest.mark.parametrize("seed", range(24))
def test_random_model(seed):
    random = np.random.default_rng(seed)
    loss = str(random.choice(["RMSE", "MAE", "Logloss", "MultiClass", "MultiClassOneVsAll"]))
    columns = list(random.permutation(COLUMNS)[: random.integers(1, 8)])
    grow = str(random.choice(["SymmetricTree", "Depthwise", "Lossguide"]))
    parameters = {
        "grow_policy": grow,
        "depth": int(random.integers(1, 8)),
        "iterations": int(random.integers(1, 60)),
        "learning_rate": float(random.uniform(0.02, 0.5)),
        "nan_mode": str(random.choice(["Min", "Max"])),
        "border_count": int(random.choice([1, 5, 64, 254, 1000])),
        "one_hot_max_size": int(random.choice([2, 11, 255])),
        "max_ctr_complexity": int(random.integers(1, 6)),
        "model_size_reg": float(random.choice([0, 0.5])),
        "l2_leaf_reg": float(random.uniform(0.01, 10)),
        "random_strength": float(random.uniform(0, 3)),
    }
    trained = train(
        loss, columns, rows=int(random.integers(50, 500)), classes=int(random.integers(3, 7)),
        **parameters,
    )  # fmt: skip
    report = check_parity(
        trained.onnx(), trained.frame.columns, trained.table(), trained.native(),
        borders=trained.borders(), spread=float(np.std(trained.pool.get_label())), seed=seed,
    )  # fmt: skip
    assert report.passed, (loss, columns, parameters, report.to_json())
