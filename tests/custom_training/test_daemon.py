"""The dialect in a real daemon with real sandboxes: the walk, the race, restarts, the door."""

from __future__ import annotations

import concurrent.futures
import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from trainbox_sdk.testing.daemon import DaemonProcess

from . import tokens
from .plugins_file import plugins_file

ROOT = Path(__file__).resolve().parents[2]
MODELS = "/api/v1/models"
SCRIPT = (
    b"import os, time\nprint('hello', flush=True)\n"
    b"while not os.path.exists('/nowhere'): time.sleep(0.05)\n"
)

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("custom-training")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("custom-training")


@pytest.fixture(scope="module")
def daemon(folder):
    env = {"TRAINBOX_BACKEND": "docker", "TRAINBOX_RATE_LIMIT_CHANGES": "6000/minute"}
    with DaemonProcess(folder / "state", plugins_file=plugins_file(folder), env=env) as running:
        yield running


class Client:
    def __init__(self, daemon: DaemonProcess, **claims) -> None:
        self.daemon = daemon
        self.token = tokens.token(**{"org_id": "acme", **claims})

    def __call__(self, method, path, document=None, *, status=200, body=None, type_=None):
        headers = {}
        if document is not None:
            body, type_ = json.dumps(document).encode(), "application/json"
        if type_:
            headers["Content-Type"] = type_
        url = path if path.startswith("/") else f"{MODELS}/{path}"
        got, _, raw = self.daemon.request(method, url, body, headers=headers, token=self.token)
        assert got == status, f"{method} {path}: {got} {raw[:1000]!r}"
        return json.loads(raw) if raw else None

    def form(self, path, data: bytes, **fields):
        parts = [
            f'--B\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
            for name, value in fields.items()
        ]
        head = '--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        body = "".join([*parts, head]).encode() + data + b"\r\n--B--\r\n"
        return self("POST", path, body=body, type_="multipart/form-data; boundary=B", status=201)

    def trainable(self, script: bytes = SCRIPT) -> str:
        name = f"m-{time.monotonic_ns()}"
        document = {"name": name, "model_type": "custom", "task_type": "regression"}
        model = self("POST", MODELS, document, status=201)["model_id"]
        self.form(f"{model}/custom/assets", script, asset_type="script", filename="train.py")
        rows = b"a,b\n" + b"".join(b"%d,%d\n" % (n, 2 * n) for n in range(20))
        data = self.form("/api/v1/datasets", rows, name=name, format="csv")
        self("POST", f"{model}/dataset", {"dataset_id": data["dataset_id"]})
        return model

    def train(self, model: str, *, status=202, **more):
        compute = {"cpu_cores": 1, "memory_gb": 1}
        body = {"entry_point": "train.py", "runtime": "python3.11", "compute": compute, **more}
        return self("POST", f"{model}/custom/train", body, status=status)

    def until(self, model: str, run: str, *states: str, timeout_s: float = 120.0):
        end = time.monotonic() + timeout_s
        while (found := self("GET", f"{model}/runs/{run}"))["status"] not in states:
            assert time.monotonic() < end, found
            time.sleep(0.1)
        return found


@pytest.fixture
def client(daemon):
    return Client(daemon)


def test_the_walk(daemon, folder):
    claims = {"iss": tokens.ISSUER, "aud": tokens.AUDIENCE}
    env = {
        **os.environ,
        "TRAINBOX_URL": daemon.url,
        "TRAINBOX_JWT_SECRET_FILE": str(folder / "jwt.secret"),
        "TRAINBOX_JWT_CLAIMS": json.dumps(claims),
    }
    script = ROOT / "examples/custom_training_walk.sh"
    done = subprocess.run(
        [script, folder / "walk"], env=env, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr + daemon.log_path.read_text()[-4000:]
    for status in (401, 403, 404, 409, 413, 422):
        assert f"\n   {status} " in done.stderr
    for python in ("3.10.", "3.11.", "3.12."):
        assert f"Python {python}" in done.stderr
    assert done.stderr.count("60 of 60 epochs") == 3
    assert (folder / "walk" / "model.onnx").stat().st_size > 0


def test_of_fifty_at_once_one_wins(client):
    model = client.trainable()
    body = {"entry_point": "train.py", "runtime": "python3.11", "compute": {"memory_gb": 1}}
    headers, raw = {"Content-Type": "application/json"}, json.dumps(body).encode()
    path = f"{MODELS}/{model}/custom/train"

    def post(_):
        return client.daemon.request("POST", path, raw, headers=headers, token=client.token)[0]

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        statuses = sorted(pool.map(post, range(50)))
    assert statuses == [202] + [409] * 49
    query = "audit-logs?action=model.custom_training_started"
    (entry,) = client("GET", f"{model}/{query}")["entries"]
    assert (entry["actor_id"], entry["actor_ip"]) == ("ada@example.test", "127.0.0.1")
    (run,) = client("GET", f"{model}/runs")["runs"]
    client("POST", f"{model}/runs/{run['run_id']}/cancel", status=202)
    client.until(model, run["run_id"], "cancelled")
    assert client("GET", model)["status"] == "draft"


def test_a_deletion_among_changes_is_whole_or_nothing(client):
    """However the requests fall: what is refused has deleted nothing, what is done left nothing."""

    def send(method, path, document=None):
        headers, raw = {"Content-Type": "application/json"}, json.dumps(document).encode()
        return client.daemon.request(method, path, raw, headers=headers, token=client.token)[0]

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            model = client.trainable()
            path = f"{MODELS}/{model}"
            changes = [pool.submit(send, "PATCH", path, {"tags": [str(n)]}) for n in range(5)]
            deletion = pool.submit(send, "DELETE", path)
            assert {each.result() for each in changes} <= {200, 404}
            assert deletion.result() == 204
            client("GET", model, status=404)
            entries = client.daemon.call("GET", f"/v1/audit?object={model}")["items"]
            assert [each["act"] for each in entries].count("model.deleted") == 1


def test_a_script_replaced_while_a_run_is_submitted_is_no_mistake_of_the_client(client):
    def replace_script(model):
        return client.form(
            f"{model}/custom/assets", SCRIPT + b"\n", asset_type="script", filename="train.py"
        )

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        model = client.trainable()
        for _ in range(4):
            uploads = [pool.submit(replace_script, model) for _ in range(2)]
            run = client.train(model)["run_id"]
            assert {upload.result()["filename"] for upload in uploads} == {"train.py"}
            (listed,) = client("GET", f"{model}/custom/assets")["assets"]
            assert listed["size_bytes"] == len(SCRIPT) + 1
            client("POST", f"{model}/runs/{run}/cancel", status=202)
            client.until(model, run, "cancelled")


def test_exit_0_without_a_model_is_completed_without_a_version(client):
    model = client.trainable(b"print('nothing to keep')\n")
    run = client.train(model)
    ended = client.until(model, run["run_id"], "completed", "failed")
    assert (ended["status"], ended["version_created"]) == ("completed", None)
    assert client("GET", model)["status"] == "draft"
    assert client("GET", f"{model}/versions")["versions"] == []
    actions = [each["action"] for each in client("GET", f"{model}/audit-logs")["entries"]]
    assert actions[0] == "model.training_completed"


def test_a_pickle_is_kept_and_never_loaded(client):
    code = (
        b"import os, pickle\nopen(os.environ['MODEL_OUTPUT_PATH'], 'wb').write(pickle.dumps([1]))\n"
    )
    model = client.trainable(code)
    run = client.train(model)
    version = client.until(model, run["run_id"], "completed", "failed")["version_created"]
    assert version is not None
    client("POST", f"{model}/versions/{version}/promote")
    refused = client("POST", f"{model}/test", {"inputs": {"a": 1}}, status=422)
    assert "only ONNX is run here" in refused["detail"][0]["msg"]
    shown = client("GET", f"{model}/versions/{version}")
    assert client("GET", f"{model}/download")["format"] == shown["artifacts"][0]["format"]


def test_too_long_is_cancelled(client):
    model = client.trainable()
    run = client.train(model, timeout_seconds=1)
    ended = client.until(model, run["run_id"], "cancelled", "failed", "completed")
    assert ended["status"] == "cancelled"
    assert ended["version_created"] is None


def test_a_script_that_fails_leaves_no_version_and_a_free_model(client):
    model = client.trainable(b"raise SystemExit(3)\n")
    run = client.train(model)
    assert client.until(model, run["run_id"], "failed", "completed")["status"] == "failed"
    assert client("GET", model)["status"] == "draft"
    client.train(model, status=202)


def test_a_gpu_where_there_is_none_is_refused(client):
    refused = client.train(client.trainable(), status=422, compute={"gpu": True})
    assert refused["detail"][0]["loc"] == ["body", "compute", "gpu"]


@pytest.mark.parametrize(
    ("kind", "target", "task"),
    [
        ("regression", "n", "regression"),
        ("classification", "two", "binclass"),
        ("classification", "three", "multiclass"),
    ],
)
def test_automl_finds_the_kind_of_task(client, kind, target, task):
    config = {"target_column": target, "parameters": {"trials": 1}}
    name = f"auto-{time.monotonic_ns()}"
    document = {"name": name, "model_type": "auto", "task_type": kind, "config": config}
    model = client("POST", MODELS, document, status=201)["model_id"]
    rows = b"x,n,two,three\n" + b"".join(
        b"%d,%d,%s,%s\n" % (n, 2 * n, (b"yes", b"no")[n % 2], (b"a", b"b", b"c")[n % 3])
        for n in range(60)
    )
    data = client.form("/api/v1/datasets", rows, name="numbers", format="csv")
    client("POST", f"{model}/dataset", {"dataset_id": data["dataset_id"]})
    run = client("POST", f"{model}/train", {}, status=202)
    assert (run["model_type"], run["entry_point"]) == ("auto", None)
    assert client("GET", f"{model}/training-metrics/details")["final_algorithm"] == task
    client("POST", f"{model}/runs/{run['run_id']}/cancel", status=202)
    client.until(model, run["run_id"], "cancelled")


def test_a_restart_leaves_nothing_in_training_and_links_good(client):
    code = b"""
import os, time
open(os.environ["MODEL_OUTPUT_PATH"], "wb").write(b"weights")
time.sleep(float(os.environ["WAIT"]))
"""
    model, daemon = client.trainable(code), client.daemon
    first = client.train(model, environment_vars={"WAIT": "0"})
    version = client.until(model, first["run_id"], "completed", "failed")["version_created"]
    link = client("GET", f"{model}/download?version_id={version}")["download_url"]
    second = client.train(model, environment_vars={"WAIT": "3"})
    client.until(model, second["run_id"], "running", "completed")
    assert client("GET", model)["status"] == "training"
    daemon.kill()
    daemon.start()
    ended = client.until(model, second["run_id"], "completed", "failed")
    assert client("GET", model)["status"] == "ready"
    assert len(client("GET", f"{model}/versions")["versions"]) == (
        2 if ended["version_created"] else 1
    )
    assert daemon.request("GET", link.removeprefix(daemon.url), token=None)[2] == b"weights"
    run = client.train(model, environment_vars={"WAIT": "0"})
    client.until(model, run["run_id"], "completed")


def test_bad_tokens_count_and_requests_are_told_of(client):
    status, headers, _ = client.daemon.request("GET", MODELS, token=client.token)
    assert status == 200
    assert "RateLimit" in headers
    status, headers, raw = client.daemon.request("GET", MODELS, token="a.b.c")
    assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="trainbox", error="invalid_token"')  # fmt: skip
    assert json.loads(raw) == {"detail": "This token cannot be verified."}
    # The daemon's own token opens the daemon's own dialect, not this one.
    assert client.daemon.request("GET", MODELS)[0] == 401


def test_the_audit_log_is_whole(client):
    verdict = client.daemon.call("GET", "/v1/audit/verify")
    assert verdict["ok"]
