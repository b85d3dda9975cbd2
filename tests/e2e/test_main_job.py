"""The main job on both backends: data in, sandboxed training, one ONNX out, predictions back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from trainbox_sdk.testing.daemon import DaemonProcess

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.xdist_group("e2e")]

ROWS: list[dict[str, Any]] = [
    {
        "age": 25,
        "plan": "free",
        "city": "Łódź",
        "active": False,
        "signed_up": "2020-01-15",
        "spend": 80.5,
        "kind": "low",
    },
    {
        "age": None,
        "plan": "never seen",
        "city": None,
        "active": None,
        "signed_up": None,
        "spend": None,
        "kind": None,
    },
]
QUICK = {"trials": 3, "max_iterations": 60}


@pytest.fixture(scope="module")
def dataset(daemon: DaemonProcess, make_churn: Callable[..., bytes]) -> Any:
    return daemon.upload(make_churn(), name="churn")


def feed_of(session: Any, row: dict[str, Any]) -> dict[str, Any]:
    """Build bare ONNX Runtime inputs from a row, by the file's own schema."""
    schema = json.loads(session.get_modelmeta().custom_metadata_map["trainbox.schema"])
    kinds = {item["name"]: item["type"] for item in schema["inputs"]}
    feed = {}
    for value in session.get_inputs():
        given, kind = row[value.name], kinds[value.name]
        if kind == "string":
            array = np.array([[given or ""]], dtype=object)
        elif kind == "datetime":
            seconds = (
                np.iinfo(np.int64).min
                if given is None
                else np.datetime64(given, "s").astype("int64")
            )
            array = np.array([[seconds]], dtype=np.int64)
        else:
            array = np.array([[np.nan if given is None else float(given)]], dtype=np.float32)
        feed[value.name] = array
    return feed


@pytest.mark.parametrize(
    ("task", "params", "ignored"),
    [
        (
            "binclass",
            {"target": "churned", "sample_weight": "weight", "ignore": []},
            {"weight", "churned"},
        ),
        (
            "multiclass",
            {"target": "kind", "ignore": ["spend", "weight"]},
            {"kind", "spend", "weight"},
        ),
        (
            "regression",
            {"target": "spend", "ignore": ["kind", "weight"]},
            {"spend", "kind", "weight"},
        ),
    ],
)
def test_train_export_predict(
    daemon: DaemonProcess,
    backend: str,
    dataset: Any,
    task: str,
    params: dict[str, Any],
    ignored: set[str],
) -> None:
    job_id = daemon.submit(
        task, dataset_id=dataset["id"], params={**params, **QUICK}, name=f"m-{task}"
    )
    events = list(daemon.stream(job_id))
    job = daemon.job(job_id)
    log = daemon.request("GET", f"/v1/jobs/{job_id}/logs")[2].decode()
    assert job["state"] == "succeeded", f"{job['reason']}\n{log}"
    assert job["backend"] == backend

    states = [e["data"]["state"] for e in events if e["kind"] == "state"]
    assert states == ["queued", "preparing", "running", "collecting", "verifying", "succeeded"]
    fractions = [e["data"]["fraction"] for e in events if e["kind"] == "progress"]
    assert fractions == sorted(fractions) and fractions[-1] <= 1.0
    trials = {e["data"].get("step") for e in events if e["kind"] == "metric"}
    assert {0, 1, 2} <= trials

    model = daemon.call("GET", f"/v1/models/{job['model_id']}")
    assert model["parity"]["passed"] is True
    assert model["parity"]["rows"] >= 1000
    assert model["dataset_id"] == dataset["id"]
    inputs = {item["name"] for item in model["signature"]["inputs"]}
    assert not inputs & ignored

    rows = [{name: row.get(name) for name in inputs} for row in ROWS]
    answer = daemon.call("POST", f"/v1/models/m-{task}/predict", {"rows": rows})["rows"]
    assert len(answer) == 2

    status, headers, onnx_bytes = daemon.request("GET", f"/v1/models/{model['id']}/onnx")
    assert status == 200 and len(onnx_bytes) == model["bytes"]
    session = ort.InferenceSession(onnx_bytes, providers=["CPUExecutionProvider"])
    meta = session.get_modelmeta().custom_metadata_map
    assert meta["trainbox.job_id"] == job_id
    assert meta["trainbox.dataset_digest"] == dataset["digest"]
    for row, served in zip(rows, answer, strict=True):
        names = [out.name for out in session.get_outputs()]
        bare = dict(zip(names, session.run(None, feed_of(session, row)), strict=True))
        if task == "regression":
            assert served["prediction"] == pytest.approx(
                float(bare["prediction"].ravel()[0]), abs=1e-6
            )
            continue
        assert served["prediction"] == bare["prediction"].ravel()[0]
        for label, value in zip(bare["classes"], bare["probabilities"][0], strict=True):
            assert served["probabilities"][str(label)] == pytest.approx(float(value), abs=1e-6)


def test_labels_versions_and_aliases(daemon: DaemonProcess, dataset: Any) -> None:
    params = {"target": "active", "features": ["age", "plan"], "trials": 1, "max_iterations": 5}
    for _ in range(2):
        job = daemon.wait(
            daemon.submit("binclass", dataset_id="churn", params=params, name="twice")
        )
        assert job["state"] == "succeeded", job["reason"]
    daemon.call("PUT", "/v1/models/twice/aliases/champion", {"version": 1})
    assert daemon.call("GET", "/v1/models/twice@champion")["version"] == 1
    assert daemon.call("GET", "/v1/models/twice")["version"] == 2
    row = {"age": 30, "plan": "pro"}
    answer = daemon.call("POST", "/v1/models/twice:2/predict", {"rows": [row]})
    assert answer["rows"][0]["prediction"] in (True, False)
