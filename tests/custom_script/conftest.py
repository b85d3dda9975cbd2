"""Makes this folder's helper modules importable by its tests, and runs scripts for them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainbox_client import Client
from trainbox_sdk.testing.daemon import DaemonProcess

sys.path.insert(0, str(Path(__file__).parent))

from script_runs import Play, player  # noqa: E402


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Return how to run a script."""
    return player(tmp_path)


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """Fail, rather than skip, where no engine answers; the reader may opt out."""
    if subprocess.run(["docker", "version"], capture_output=True).returncode == 0:
        return
    if os.environ.get("TRAINBOX_TEST_WITHOUT_DOCKER") == "1":
        pytest.skip("no Docker Engine, and TRAINBOX_TEST_WITHOUT_DOCKER=1")
    pytest.fail("no Docker Engine answers: run scripts/ensure_docker.sh")


@pytest.fixture(scope="package")
def daemon(
    docker_engine: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DaemonProcess]:
    state = tmp_path_factory.mktemp("scripts") / "state"
    with DaemonProcess(state, env={"TRAINBOX_BACKEND": "docker"}) as running:
        yield running


@pytest.fixture(scope="package")
def client(daemon: DaemonProcess) -> Iterator[Client]:
    with Client(daemon.url, daemon.token) as made:
        yield made


@pytest.fixture(scope="package")
def customers(client: Client) -> str:
    """Return the id of a dataset in which the young and the thrifty churn."""
    lines = ["age,spend,churned,since,note"]
    for number in range(120):
        age, spend = 18 + number % 60, 20 + (number * 37) % 160
        churned = "yes" if age < 40 and spend < 100 else "no"
        note = "" if number % 7 else '"Łódź, ""quoted"""'
        lines.append(f"{age},{spend}.5,{churned},2024-01-{number % 28 + 1:02},{note}")
    data = client.datasets.upload("\n".join(lines).encode(), name="customers", format="csv")
    return str(data.id)
