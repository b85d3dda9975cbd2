"""A real daemon per module, on a real Docker Engine or on the process backend."""

from __future__ import annotations

import csv
import io
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainbox_sdk.testing.daemon import DaemonProcess

sys.path.insert(0, str(Path(__file__).parent))


def engine_answers() -> bool:
    return subprocess.run(["docker", "version"], capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Fail, rather than skip, where no engine answers; the reader may opt out."""
    if engine_answers():
        return
    if os.environ.get("TRAINBOX_TEST_WITHOUT_DOCKER") == "1":
        pytest.skip("no Docker Engine, and TRAINBOX_TEST_WITHOUT_DOCKER=1")
    pytest.fail(
        "no Docker Engine answers: run scripts/ensure_docker.sh, or opt out with "
        "TRAINBOX_TEST_WITHOUT_DOCKER=1"
    )


def churn_csv(rows: int = 400, seed: int = 1) -> bytes:
    """Return mixed columns with gaps: numbers, booleans, strings, datetimes, a weight, targets."""
    rng = random.Random(seed)
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(
        ["age", "plan", "city", "active", "signed_up", "spend", "weight", "churned", "kind"]
    )
    for _ in range(rows):
        age = rng.randint(18, 80)
        plan = rng.choice(["free", "basic", "pro"])
        city = rng.choice(["Łódź", "Zürich", "東京", "São Paulo"])
        active = rng.random() < 0.6
        spend = round(rng.gauss(100, 30) + (50 if plan == "pro" else 0), 2)
        churned = (
            "yes" if (age < 35) + (not active) + (plan == "free") + rng.random() > 1.8 else "no"
        )
        kind = "high" if spend > 130 else "low" if spend < 90 else "mid"
        row = [
            age,
            plan,
            city,
            active,
            f"20{rng.randint(10, 25)}-0{rng.randint(1, 9)}-1{rng.randint(0, 9)}",
            spend,
            rng.randint(1, 3),
            churned,
            kind,
        ]
        for column in range(6):
            if rng.random() < 0.05:
                row[column] = ""
        writer.writerow(row)
    return out.getvalue().encode()


@pytest.fixture(scope="session")
def make_churn() -> Callable[..., bytes]:
    return churn_csv


@pytest.fixture(scope="module", params=["docker", "process"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
    return str(request.param)


@pytest.fixture(scope="module")
def daemon(backend: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    state = tmp_path_factory.mktemp(f"daemon-{backend}") / "state"
    with DaemonProcess(state, env={"TRAINBOX_BACKEND": backend}) as running:
        yield running


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"
