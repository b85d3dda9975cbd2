"""Every route that changes something leaves its act in the audit log, with the request's id."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainbox_plugins.native.routes import NativeSurface
from trainbox_sdk.testing import scripted_plugin
from trainbox_sdk.testing.daemon import DaemonProcess
from trainbox_sdk.testing.fake_engine import FakeEngine

CSV = b"a,b\n1,2\n3,4\n"
ONNX = (
    '\x08\x08\x12\x00:A\n\x10\n\x01a\x12\x01b"\x08Identity\x12\x01gZ\x14\n\x01a\x12\x0f\n\r\x08\x01\x12'
    "\t\n\x03\x12\x01N\n\x02\x08\x01b\x14\n\x01b\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01N\n\x02\x08\x01B"
    "\x04\n\x00\x10\r"
)
"""The identity of one float as ONNX has it: small enough to be ASCII, which a script needs."""
SIGNATURE = {
    "inputs": [{"name": "a", "type": "number", "dtype": "float"}],
    "outputs": [{"name": "b", "type": "number", "dtype": "float"}],
}
SAFE = {"GET", "HEAD", "OPTIONS"}
LOOKS_ONLY = {"predict", "openUpload"}
"""Operations that are asked with POST and change nothing that anyone keeps."""
NOT_ACTS = {
    "appendUpload": "bytes of an upload whose making and whose dataset are acts",
    "testWebhook": "sends one made-up event; nothing of the webhook changes",
}


def changing() -> set[str]:
    """The names of all operations that change something."""
    routes = NativeSurface().routes(FakeEngine())
    return {
        route.operation.id
        for route in routes
        if route.operation is not None
        and route.method not in SAFE
        and route.operation.scope != "predict"
    }


@pytest.fixture(scope="module")
def daemon(tmp_path_factory) -> Iterator[DaemonProcess]:
    folder = tmp_path_factory.mktemp("walk")
    plugins, env = scripted_plugin.install(folder / "plugin")
    (folder / "import").mkdir()
    (folder / "import" / "data.csv").write_bytes(CSV)
    env |= {
        "TRAINBOX_WEBHOOK_ALLOWED": "http://127.0.0.1:*",
        "TRAINBOX_WEBHOOK_RETRY_S": "0.05",
        "TRAINBOX_ALLOWED_IMPORT_ROOTS": str(folder / "import"),
    }
    with DaemonProcess(folder / "state", plugins_file=plugins, env=env) as running:
        running.folder = folder
        yield running


class Walk:
    """Sends changes and looks each up in the log by its request's id."""

    def __init__(self, daemon: DaemonProcess) -> None:
        self.daemon = daemon
        self.acts: dict[str, list[str]] = {}

    def __call__(self, operation, method, path, body=None, content_type="application/json", **more):
        request_id = f"walk-{uuid.uuid4().hex[:12]}"
        data = json.dumps(body).encode() if isinstance(body, dict) else body
        headers = {"X-Request-ID": request_id, **more}
        if data is not None:
            headers["Content-Type"] = content_type
        status, answered, answer = self.daemon.request(method, path, data, headers=headers)
        assert status < 300, (operation, status, answer)
        found = self.daemon.call("GET", f"/v1/audit?request_id={request_id}")["items"]
        assert all(act["who"] == "local" and act["token_id"] for act in found), found
        assert all(act["peer"] == "127.0.0.1" for act in found), found
        self.acts[operation] = [act["act"] for act in reversed(found)]
        is_json = answer and "json" in answered.get("Content-Type", "")
        return json.loads(answer) if is_json else answered

    def model(self, name):
        fake = {"outputs": {"model.onnx": ONNX}, "result": {"signature": SIGNATURE}}
        job = self.daemon.submit("scripted", name=name, params={"fake": fake})
        ended = self.daemon.wait(job)
        assert ended["state"] == "succeeded", ended["reason"]
        return ended["model_id"]


def walk_data(walk):
    data = walk("createDataset", "POST", "/v1/datasets?name=one", CSV, "text/csv")
    path = str(Path(walk.daemon.folder) / "import" / "data.csv")
    walk("importDataset", "POST", "/v1/datasets/import", {"path": path, "name": "two"})
    name = base64.b64encode(b"three.csv").decode()
    tus = {"Tus-Resumable": "1.0.0", "Upload-Metadata": f"filename {name}"}
    made = walk("createUpload", "POST", "/v1/uploads", b"", **tus, **{"Upload-Length": "12"})
    where = made["Location"]
    octets = "application/offset+octet-stream"
    offset = {"Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
    walk("appendUpload", "PATCH", where, CSV[:5], octets, **offset)
    walk("terminateUpload", "DELETE", where, **{"Tus-Resumable": "1.0.0"})
    one = f"/v1/datasets/{data['id']}"
    walk("describeDataset", "PATCH", one, {"description": "better"})
    walk("trashDataset", "DELETE", one)
    walk("restoreDataset", "POST", f"{one}/restore", {})


def walk_assets(walk):
    script = "/v1/assets?filename=train.py&kind=script"
    made = walk("createAsset", "POST", script, b"print()", "application/octet-stream")
    walk("deleteAsset", "DELETE", f"/v1/assets/{made['id']}")


def walk_jobs(walk):
    body = {"task": "scripted", "params": {"fake": {"run_for_s": None}}}
    job = f"/v1/jobs/{walk('createJob', 'POST', '/v1/jobs', body)['id']}"
    walk("changeJob", "PATCH", job, {"labels": {"team": "crm"}})
    walk("cancelJob", "POST", f"{job}/cancel")
    walk.daemon.wait(job.rpartition("/")[2])
    walk("retryJob", "POST", f"{job}/retry")
    walk.daemon.call("POST", f"{job}/cancel")
    walk.daemon.wait(job.rpartition("/")[2])
    walk("deleteJob", "DELETE", job)


def walk_models(walk):
    walk.model("churn"), walk.model("churn")
    name = "/v1/models/churn"
    walk("setModelAlias", "PUT", f"{name}/aliases/best", {"version": 1})
    walk("promoteModel", "POST", f"{name}/promote", {"version": 1, "reason": "first"})
    walk("promoteModel", "POST", f"{name}/promote", {"version": 2, "reason": "better"})
    walk("rollBackModel", "POST", f"{name}/rollback", {"reason": "worse"})
    walk("deleteModelAlias", "DELETE", f"{name}/aliases/best")
    walk("trashModel", "DELETE", "/v1/models/churn:2")
    deleted = walk.daemon.call("GET", "/v1/audit?act=model.trash")["items"][0]["object"]
    walk("restoreModel", "POST", f"/v1/models/{deleted}/restore")
    walk("purgeTrash", "POST", "/v1/trash/purge", {})


def walk_webhooks(walk):
    hook = {"url": "http://127.0.0.1:9/hook", "events": []}
    made = walk("createWebhook", "POST", "/v1/webhooks", hook)
    one = f"/v1/webhooks/{made['id']}"
    walk("changeWebhook", "PATCH", one, {"description": "better"})
    walk("rotateWebhookSecret", "POST", f"{one}/rotate", {})
    walk("testWebhook", "POST", f"{one}/test")
    while True:
        [delivery, *_] = walk.daemon.call("GET", f"{one}/deliveries")["items"]
        if delivery["finished_at"] is not None:  # nobody listens on port 9
            break
        time.sleep(0.05)
    walk("redeliver", "POST", f"{one}/deliveries/{delivery['id']}/redeliver")
    walk("deleteWebhook", "DELETE", one)


def walk_tokens(walk):
    made = walk("createToken", "POST", "/v1/tokens", {"name": "t", "scopes": ["read"]})
    walk("rotateToken", "POST", f"/v1/tokens/{made['id']}/rotate", {})
    walk("revokeToken", "DELETE", f"/v1/tokens/{made['id']}")


def walk_daemon(walk):
    walk("drain", "POST", "/v1/admin/drain")
    walk("undrain", "POST", "/v1/admin/undrain")


def test_every_change_is_in_the_audit_log(daemon):
    walk = Walk(daemon)
    objects = (walk_data, walk_assets, walk_jobs, walk_models)
    for part in (*objects, walk_webhooks, walk_tokens, walk_daemon):
        part(walk)
    assert changing() - set(walk.acts) == set(), "routes that this test does not walk"
    silent = {operation for operation, acts in walk.acts.items() if not acts}
    assert silent == set(NOT_ACTS), walk.acts
    verdict = daemon.call("GET", "/v1/audit/verify")
    assert verdict["ok"], verdict
