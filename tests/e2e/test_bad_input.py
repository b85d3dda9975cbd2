"""Bad input at the real door: one clear error each, nothing queued, nothing left behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainbox_sdk.testing.daemon import DaemonProcess, RequestFailed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("e2e-bad")]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    state = tmp_path_factory.mktemp("bad") / "state"
    env = {"TRAINBOX_BACKEND": "process", "TRAINBOX_MAX_UPLOAD_BYTES": "200000"}
    with DaemonProcess(state, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def dataset(daemon: DaemonProcess, make_churn: Callable[..., bytes]) -> Any:
    rows = make_churn(60).decode().splitlines()
    extra = [
        ",constant,empty,pair,id" if n == 0 else f",same,,{'ab'[n % 2]},{n}"
        for n in range(len(rows))
    ]
    return daemon.upload(
        "\n".join(map("".join, zip(rows, extra, strict=True))).encode(), name="bad"
    )


def refused(
    daemon: DaemonProcess, status: int, method: str, path: str, document: Any = None
) -> dict[str, Any]:
    """Expect a problem document with this status, and that it says what and how to fix it."""
    with pytest.raises(RequestFailed) as caught:
        daemon.call(method, path, document)
    assert caught.value.status == status, caught.value
    problem = caught.value.body
    assert problem["title"] and problem["detail"]
    return problem


def loc_of(problem: dict[str, Any]) -> str:
    return ".".join(str(part) for part in problem["errors"][0]["loc"])


JOBS = [
    ({"task": "regresion"}, "task", "did you mean"),
    ({"taks": "regression"}, "taks", ""),
    ({"params": {"target": "spend", "trails": 3}}, "params.trails", "did you mean 'trials'"),
    ({"params": {"target": "spent"}}, "params.target", "did you mean 'spend'"),
    (
        {"params": {"target": "spend", "features": ["agee"]}},
        "params.features",
        "did you mean 'age'",
    ),
    ({"params": {"target": "spend", "ignore": ["nope"]}}, "params.ignore", ""),
    ({"params": {}}, "params.target", ""),
    ({"dataset_id": "nothing"}, "dataset", "GET /v1/datasets"),
    ({"dataset_id": None}, "dataset", "upload"),
    ({"params": {"target": "spend", "trials": 0}}, "params.trials", "at least 1"),
    ({"params": {"target": "spend", "trials": 201}}, "params.trials", "at most 200"),
    ({"params": {"target": "constant"}, "task": "binclass"}, "params.target", ""),
    ({"params": {"target": "empty"}, "task": "multiclass"}, "params.target", ""),
    ({"params": {"target": "plan"}, "task": "binclass"}, "params.target", "multiclass"),
    ({"params": {"target": "pair"}, "task": "multiclass"}, "params.target", "binclass"),
    ({"params": {"target": "plan"}}, "params.target", "numeric"),
    ({"params": {"target": "spend", "features": ["constant"]}}, "params.features", ""),
    ({"params": {"target": "spend", "sample_weight": "plan"}}, "params.sample_weight", ""),
    ({"resources": {"cpus": 4096}}, "resources.cpus", "at most"),
    ({"resources": {"memory_bytes": 1}}, "resources.memory_bytes", ""),
    ({"resources": {"cpu": 1}}, "resources.cpu", ""),
    ({"backend": "dockr"}, "backend", "did you mean"),
    ({"priority": 101}, "priority", ""),
]


@pytest.mark.parametrize(
    ("change", "where", "hint"), JOBS, ids=[f"{n}-{j[1]}" for n, j in enumerate(JOBS)]
)
def test_a_doomed_job_is_not_queued(
    daemon: DaemonProcess, dataset: Any, change: dict[str, Any], where: str, hint: str
) -> None:
    document = {
        "task": "regression",
        "dataset_id": dataset["id"],
        "params": {"target": "spend"},
        **change,
    }
    problem = refused(
        daemon, 422, "POST", "/v1/jobs", {k: v for k, v in document.items() if v is not None}
    )
    assert any(".".join(map(str, e["loc"])).endswith(where) for e in problem["errors"]), problem
    assert hint in str(problem), problem
    assert daemon.call("GET", "/v1/jobs")["items"] == []


UPLOADS = [
    (b"", "text/csv", "empty"),
    (b"a,b\n1,2\n3\n", "text/csv", "3"),
    (b"a,b\n1,2,9\n3,4\n", "text/csv", "2"),
    (b"a,a\n1,2\n", "text/csv", "'a'"),
    (b"name\nna\xefve \xff\n", "text/csv", "UTF-8"),
    (b"a,b\n", "text/csv", "row"),
    (b'a,b\n"1,2\n3,4\n', "text/csv", "quot"),
    (b"PAR1" + b"\0" * 40, "application/vnd.apache.parquet", "Parquet"),
    (b"a,b\n1,2\n", "application/vnd.apache.parquet", "Parquet"),
]


@pytest.mark.parametrize(("data", "content_type", "word"), UPLOADS)
def test_an_unreadable_upload_is_refused(
    daemon: DaemonProcess, data: bytes, content_type: str, word: str
) -> None:
    before = sorted((daemon.state_dir / "blobs").rglob("*"))
    with pytest.raises(RequestFailed) as caught:
        daemon.upload(data, name="x", content_type=content_type)
    assert caught.value.status == 422
    assert word.lower() in str(caught.value).lower()
    assert sorted((daemon.state_dir / "blobs").rglob("*")) == before


def test_a_body_that_is_too_large(daemon: DaemonProcess) -> None:
    with pytest.raises(RequestFailed) as caught:
        daemon.upload(b"a\n" + b"1\n" * 150_000, name="big")
    assert caught.value.status == 413
    assert "200,000" in str(caught.value)


def test_an_upload_cut_off_midway_leaves_nothing(daemon: DaemonProcess) -> None:
    before = sorted(
        path
        for path in daemon.state_dir.rglob("*")
        if path.is_file() and "trainbox.db" not in path.name
    )
    with socket.create_connection(("127.0.0.1", daemon.port)) as sock:
        sock.sendall(
            b"POST /v1/datasets?name=cut HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: text/csv\r\n"
            b"Authorization: Bearer "
            + daemon.token.encode()
            + b"\r\nContent-Length: 1000\r\n\r\na,b\n1,2\n"
        )
    daemon.request("GET", "/healthz")
    import time

    for _ in range(50):
        after = sorted(
            path
            for path in daemon.state_dir.rglob("*")
            if path.is_file() and "trainbox.db" not in path.name
        )
        if after == before:
            break
        time.sleep(0.1)
    assert after == before
    assert "cut" not in str(daemon.call("GET", "/v1/datasets"))


@pytest.mark.parametrize("token", ["wrong", "tb_x_y", "é"])
def test_a_wrong_token(daemon: DaemonProcess, token: str) -> None:
    status, headers, body = daemon.request(
        "GET", "/v1/jobs", token=token.encode().decode("latin-1")
    )
    assert status == 401 and b"hint" in body
    assert "Bearer" in headers["WWW-Authenticate"]


def test_no_token(daemon: DaemonProcess) -> None:
    assert daemon.request("GET", "/v1/jobs", token=None)[0] == 401


def test_a_foreign_host_header(daemon: DaemonProcess) -> None:
    status, _, body = daemon.request("GET", "/v1/jobs", headers={"Host": "evil.example"})
    assert status == 421 and b"evil.example" in body


def test_a_cross_site_request(daemon: DaemonProcess) -> None:
    headers = {"Origin": "https://evil.example", "Content-Type": "application/json"}
    assert daemon.request("POST", "/v1/jobs", b"{}", headers=headers)[0] == 403


@pytest.fixture(scope="module")
def model(daemon: DaemonProcess, dataset: Any) -> Any:
    params = {
        "target": "churned",
        "features": ["age", "plan", "active", "signed_up"],
        "trials": 1,
        "max_iterations": 5,
    }
    job = daemon.wait(daemon.submit("binclass", dataset_id=dataset["id"], params=params))
    assert job["state"] == "succeeded", job["reason"]
    yield daemon.call("GET", f"/v1/models/{job['model_id']}")


GOOD = {"age": 3, "plan": "pro", "active": True, "signed_up": "2020-01-01"}


@pytest.mark.parametrize(
    ("row", "word"),
    [
        ({k: v for k, v in GOOD.items() if k != "plan"}, "plan"),
        ({**GOOD, "extra": 1}, "extra"),
        ({**GOOD, "age": "old"}, "age"),
        ({**GOOD, "age": True}, "age"),
        ({**GOOD, "plan": 3}, "plan"),
        ({**GOOD, "active": "yes"}, "active"),
        ({**GOOD, "signed_up": "yesterday"}, "signed_up"),
        ({**GOOD, "signed_up": 5}, "signed_up"),
    ],
)
def test_predict_with_a_wrong_row(
    daemon: DaemonProcess, model: Any, row: dict[str, Any], word: str
) -> None:
    problem = refused(
        daemon, 422, "POST", f"/v1/models/{model['id']}/predict", {"rows": [GOOD, row]}
    )
    assert word in str(problem["errors"]) and "1" in str(problem["errors"][0]["loc"])


def test_predict_without_rows(daemon: DaemonProcess, model: Any) -> None:
    refused(daemon, 422, "POST", f"/v1/models/{model['id']}/predict", {"rows": []})


def test_cancel_of_a_finished_job(daemon: DaemonProcess, model: Any) -> None:
    problem = refused(daemon, 409, "POST", f"/v1/jobs/{model['job_id']}/cancel")
    assert "succeeded" in problem["detail"]


def test_absent_things(daemon: DaemonProcess) -> None:
    for path in ("/v1/jobs/job_x", "/v1/models/x", "/v1/datasets/x", "/v1/tasks/x", "/v1/nothing"):
        refused(daemon, 404, "GET", path)


def serve(state: Path, **env: str) -> subprocess.CompletedProcess[str]:
    import os

    environ = {**os.environ, "TRAINBOX_STATE_DIR": str(state), **env}
    return subprocess.run(
        [sys.executable, "-m", "trainbox", "serve"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_port_in_use_stops_the_start(daemon: DaemonProcess, tmp_path: Path) -> None:
    done = serve(tmp_path / "state", TRAINBOX_PORT=str(daemon.port))
    assert done.returncode != 0
    assert str(daemon.port) in done.stderr and "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_state_directory_that_cannot_be_written(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    done = serve(blocked / "state", TRAINBOX_PORT="0")
    assert done.returncode != 0
    assert "cannot be written" in done.stderr and str(blocked) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_daemon_on_the_same_state(daemon: DaemonProcess) -> None:
    done = serve(daemon.state_dir, TRAINBOX_PORT="0")
    assert done.returncode != 0
    assert str(daemon.pid) in done.stderr
    assert "Traceback" not in done.stderr
