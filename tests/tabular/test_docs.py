"""What the documentation shows works, and what can fail is in it."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pandas as pd
from jobs import train_job

import trainbox_plugins.tabular
from trainbox_plugins.tabular.params import BinclassParams

REPOSITORY = Path(__file__).parents[2]
DOCUMENT = (REPOSITORY / "docs" / "tabular.md").read_text()
GUEST = Path(trainbox_plugins.tabular.__file__).parent / "guest"


def test_the_example_runs(tmp_path, monkeypatch):
    random = np.random.default_rng(0)
    rows = 120
    frame = pd.DataFrame(
        {
            "age": random.integers(18, 80, rows),
            "city": np.asarray(["Basel", "Bern"], object)[random.integers(0, 2, rows)],
            "since": np.datetime64("2020-01-01T00:00:00")
            + random.integers(0, 10**8, rows).astype("timedelta64[s]"),
        }
    )
    frame["churned"] = np.where(frame["age"] > 40, "yes", "no")
    train_job(tmp_path, frame, "binclass", target="churned")
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, flags=re.DOTALL)
    monkeypatch.chdir(tmp_path / "out")
    names: dict = {}
    exec(compile(example, "docs/tabular.md", "exec"), names)
    assert names["label"][0, 0] in ("yes", "no")
    assert names["probabilities"].shape == (2, 2)
    assert names["classes"].tolist() == ["no", "yes"]


def test_every_error_code_is_documented():
    raised = set()
    for path in GUEST.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "GuestError":
                raised.add(node.args[0].value)
    assert len(raised) > 10
    missing = {code for code in raised if f"`{code}`" not in DOCUMENT}
    assert not missing


def test_every_parameter_is_documented():
    assert not {name for name in BinclassParams.model_fields if f"`{name}`" not in DOCUMENT}
