"""MLflow itself loads and serves a downloaded directory, and predicts what the daemon predicts.

In a process of its own: MLflow warns on import, and a user has it in another environment anyway.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from trainbox_sdk.testing.daemon import free_port

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("models")]

ROWS = [
    {"age": 25, "plan": "free", "city": "Łódź", "active": False, "signed_up": "2024-01-15"},
    {"age": 61.5, "plan": "pro", "city": "東京", "active": True, "signed_up": "1969-12-31"},
    {"age": None, "plan": None, "city": "never seen", "active": None, "signed_up": None},
    {"age": 40, "plan": "", "city": None, "active": True, "signed_up": "2024-02-29T10:00:00+01:00"},
]

LOADER = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = json.load(sys.stdin)
frames = {
    "objects": pd.DataFrame(rows),
    "typed": pd.DataFrame(rows).assign(
        signed_up=lambda f: pd.to_datetime(f.signed_up, utc=True, format="ISO8601"),
        active=lambda f: f.active.astype("boolean"),
        plan=lambda f: f.plan.astype("string"),
    ),
    "whole numbers": pd.DataFrame(rows[:1]).assign(age=25),
    "example": model.input_example,
}
answers = {name: model.predict(frame).to_dict("records") for name, frame in frames.items()}
def refused(**columns):
    try:
        model.predict(pd.DataFrame(rows[:1]).assign(**columns))
    except Exception as error:
        return str(error)
answers["refused"] = [
    refused(age="old"), refused(active="yes"), refused(signed_up=7), refused(signed_up="soon"),
    refused(city=5), refused(age=1e300),
]
session = mlflow.onnx.load_model(sys.argv[1])
answers["metadata"] = {prop.key: prop.value for prop in session.metadata_props}
answers["about"] = dict(model.metadata.metadata)
json.dump(answers, sys.stdout)
"""


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    """Version 1, unpacked from its archive."""
    place = tmp_path_factory.mktemp("taken-away")
    body = trained.daemon.request("GET", f"/v1/models/{trained.models[0]['id']}/archive")[2]
    subprocess.run(["tar", "x"], input=body, cwd=place, check=True)
    return place / "churn_model-v1"


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """Variables that keep MLflow to itself."""
    home = tmp_path_factory.mktemp("home")
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true", "HOME": str(home)}
    path = f"{os.path.dirname(sys.executable)}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, **quiet, "PATH": path, "MLFLOW_TRACKING_URI": f"file:{home}/runs"}


def served(trained, rows):
    url = f"/v1/models/{trained.models[0]['id']}/predict"
    return trained.daemon.call("POST", url, {"rows": rows})["rows"]


def same(here, there):
    assert [row["prediction"] for row in here] == [row["prediction"] for row in there]
    for one, other in zip(here, there, strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)


def test_pyfunc_predicts_what_the_daemon_predicts(trained, folder, environment):
    done = subprocess.run(
        [sys.executable, "-c", LOADER, str(folder)],
        input=json.dumps(ROWS),
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    expected = served(trained, ROWS)
    assert len({row["probabilities"]["yes"] for row in expected}) > 1
    same(answers["objects"], expected)
    same(answers["typed"], expected)
    same(answers["whole numbers"], served(trained, [{**ROWS[0], "age": 25}]))
    same(answers["example"], json.loads((folder / "preview.json").read_text())["predictions"])
    for column, said in zip(
        ("age", "active", "signed_up", "signed_up", "city", "age"), answers["refused"]
    ):
        assert said and column in said
    assert answers["metadata"]["trainbox.job_id"] == trained.models[0]["job_id"]
    assert answers["about"]["trainbox.model_id"] == trained.models[0]["id"]


@pytest.fixture(scope="module")
def scoring_server(folder, environment, tmp_path_factory):
    port = free_port()
    log = tmp_path_factory.mktemp("serve") / "log"
    argv = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder)]
    argv += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with log.open("wb") as out:
        server = subprocess.Popen(
            argv, env=environment, stdout=out, stderr=out, start_new_session=True
        )
    url = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"{url}/ping") as answer:
                assert answer.status == 200
                break
        except (OSError, urllib.error.URLError):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
    yield url
    os.killpg(server.pid, 15)
    server.wait(30)


@pytest.mark.parametrize(
    "document",
    [
        {"dataframe_records": ROWS},
        {
            "dataframe_split": {
                "columns": list(ROWS[0]),
                "data": [list(row.values()) for row in ROWS],
            }
        },
    ],
    ids=["records", "split"],
)
def test_mlflow_models_serve_answers_invocations(trained, scoring_server, document):
    request = urllib.request.Request(
        f"{scoring_server}/invocations",
        json.dumps(document).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as answer:
        found = json.load(answer)["predictions"]
    same(found, served(trained, ROWS))
