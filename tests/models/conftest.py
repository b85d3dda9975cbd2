"""A daemon on the process backend with two versions of one model, trained for real."""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from trainbox_sdk.testing.daemon import DaemonProcess

NAME = "churn model"
PLANS, CITIES = ["free", "basic", "pro"], ["Łódź", "Zürich", "東京"]


def people(rows: int = 120, seed: int = 1) -> bytes:
    """Return numbers, booleans, texts and dates with gaps, and who left."""
    rng = random.Random(seed)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["age", "plan", "city", "active", "signed_up", "left"])
    for _ in range(rows):
        age, active = rng.randint(18, 80), rng.random() < 0.6
        left = "yes" if (age < 35) + (not active) + rng.random() > 1.3 else "no"
        row = [age, rng.choice(PLANS), rng.choice(CITIES), active, f"2024-0{rng.randint(1, 9)}-11"]
        row = ["" if rng.random() < 0.1 else value for value in row]
        writer.writerow([*row, left])
    return out.getvalue().encode()


@pytest.fixture(scope="session")
def people_csv() -> bytes:
    return people()


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    """``daemon``, ``name``, and ``models``: two versions that predict differently."""
    state = tmp_path_factory.mktemp("models") / "state"
    with DaemonProcess(state, env={"TRAINBOX_BACKEND": "process"}) as daemon:
        data = daemon.upload(people(), name="people")
        jobs = [
            daemon.submit(
                "binclass",
                dataset_id=data["id"],
                name=NAME,
                params={"target": "left", "trials": 1, "max_iterations": trees},
            )
            for trees in (3, 12)
        ]
        models = []
        for job in jobs:
            ended = daemon.wait(job)
            assert ended["state"] == "succeeded", ended["reason"]
            models.append(daemon.call("GET", f"/v1/models/{ended['model_id']}"))
        models.sort(key=lambda model: model["version"])
        yield SimpleNamespace(daemon=daemon, name=NAME, models=models, dataset=data)


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"
