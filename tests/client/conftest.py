"""A real daemon with the process backend, a client, and a small dataset."""

from __future__ import annotations

import csv
import io
import random

import pytest

from trainbox_client import Client
from trainbox_sdk.testing.daemon import DaemonProcess


def churn_rows(rows=300, seed=1):
    rng = random.Random(seed)
    for _ in range(rows):
        age, plan = rng.randint(18, 80), rng.choice(["free", "basic", "pro"])
        churned = "yes" if (age < 35) + (plan == "free") + rng.random() > 1.4 else "no"
        yield {"age": age, "plan": plan, "spend": round(rng.gauss(100, 30), 2), "churned": churned}


def churn_csv(**options) -> bytes:
    out = io.StringIO()
    rows = list(churn_rows(**options))
    writer = csv.DictWriter(out, rows[0])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    state = tmp_path_factory.mktemp("client") / "state"
    with DaemonProcess(state, env={"TRAINBOX_BACKEND": "process"}) as running:
        yield running


@pytest.fixture(scope="module")
def client(daemon):
    with Client(daemon.url, daemon.token) as made:
        yield made


@pytest.fixture(scope="module")
def dataset(client):
    return client.datasets.upload(churn_csv(), name="churn", format="csv")


@pytest.fixture(scope="module")
def model(client, dataset):
    job = client.jobs.submit("binclass", dataset=dataset, params=QUICK, name="churn")
    return job.result(timeout=300, progress=False)


QUICK = {"target": "churned", "trials": 2, "max_iterations": 40}
ROWS = [
    {"age": 25, "plan": "free", "spend": 80.5},
    {"age": None, "plan": "never seen", "spend": None},
]
