"""What a guest says never makes an answer fail: not today's, and not what earlier versions stored."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from trainbox_sdk.testing import scripted_plugin
from trainbox_sdk.testing.daemon import DaemonProcess

DEEP = "[" * 300 + "]" * 300
EVENTS = [
    r'{"t":"metric","at":1,"name":"\ud800loss\u202e\u001b[2J","value":1}',
    r'{"t":"message","at":-62135596800,"text":"\udead \u0000 \u001b]0;x\u0007 \u202e","level":"\ud800"}',
    '{"t":"message","at":253402300799,"text":"x","d":%s}' % DEEP,
    r'{"t":"progress","at":1,"fraction":0.5,"phase":"\ud800","message":"\ud83d"}',
]
RESULT = (
    r'{"metrics":{"auc":1.0,"\ud800":2.0,"a\u202eb":3.0},"parity":{"passed":true,"\ud800":"\udead",'
    r'"d":%s},"signature":{"inputs":[{"name":"\ud800"}]},"seed":"\udc80","more":%s}' % (DEEP, DEEP)
)
POISON = json.dumps({"t\ud800": "\udead", "deep": json.loads(DEEP)})
METRICS = json.dumps({"loss": 1.0, "a\ud800\u202e\x9b": 2.0})


def submit(daemon, seed, **fake):
    return daemon.wait(daemon.submit("scripted", params={"seed": seed, "fake": fake}))


def train(daemon, seed):
    ended = submit(
        daemon, seed, events=EVENTS, outputs={"model.onnx": "onnx", "result.json": RESULT}
    )
    assert ended["state"] == "succeeded", ended["reason"]
    return ended


def doors(job, other, webhook):
    model = f"/v1/models/{job['model_id']}"
    return [
        f"/v1/jobs/{job['id']}",
        "/v1/jobs",
        f"/v1/jobs/{job['id']}/explain",
        f"/v1/jobs/{job['id']}/reproduce",
        f"/v1/jobs/compare?ids={job['id']},{other['id']}",
        f"/v1/jobs/{job['id']}/events?follow=false",
        f"/v1/jobs/{job['id']}/log-lines",
        model,
        "/v1/models",
        f"{model}/files",
        f"{model}/files/card.md",
        f"{model}/files/provenance.json",
        f"/v1/webhooks/{webhook['id']}/deliveries",
    ]


def require_answers(daemon, job, other, webhook):
    for path in doors(job, other, webhook):
        status, _, body = daemon.request("GET", path)
        assert status == 200, (path, status, body)
        body.decode()  # UTF-8 to the last byte
    for media_type in ("text/event-stream", "application/x-ndjson", "application/json"):
        path = f"/v1/jobs/{job['id']}/events"
        status, _, body = daemon.request("GET", path, headers={"Accept": media_type})
        assert status == 200 and b"succeeded" in body, media_type
    for arguments in (
        ["jobs", "show", job["id"]],
        ["jobs", "ls"],
        ["--json", "jobs", "show", job["id"]],
        ["jobs", "events", job["id"]],
        ["models", "show", job["model_id"]],
        ["--json", "models", "show", job["model_id"]],
    ):
        shown = cli(daemon, *arguments)
        assert not set("\x00\x07\x1b\x9b\u202e") & set(shown), arguments


def cli(daemon, *arguments):
    env = {**os.environ, "TRAINBOX_URL": daemon.url, "TRAINBOX_TOKEN": daemon.token}
    done = subprocess.run(
        [sys.executable, "-m", "trainbox", *arguments], env=env, capture_output=True, timeout=60
    )
    assert done.returncode == 0, (arguments, done.stderr.decode())
    return done.stdout.decode()


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("poison")
    plugins, env = scripted_plugin.install(folder / "plugin")
    env["TRAINBOX_WEBHOOK_ALLOWED"] = "http://127.0.0.1:*"
    with DaemonProcess(folder / "state", plugins_file=plugins, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def webhook(daemon):
    # Nobody listens there: what is looked at is the list of what was tried.
    body = {"url": "http://127.0.0.1:9/hook", "events": ["job.succeeded", "model.created"]}
    return daemon.call("POST", "/v1/webhooks", body)


def test_what_is_said_today_is_told_at_every_door(daemon, webhook):
    job, other = train(daemon, 7001), train(daemon, 7002)
    require_answers(daemon, job, other, webhook)
    assert job["metrics"] == {"\ufffdloss\ufffd\ufffd[2J": 1, "auc": 1, "\ufffd": 2, "a\ufffdb": 3}
    said = [each for each in daemon.events(job["id"]) if each["kind"] == "message"]
    begun, ended = job["created_at"], job["finished_at"]
    assert said and all(begun <= each["at"] <= ended for each in said)


def test_an_honest_error_with_a_name_in_bytes_is_told(daemon):
    event = json.dumps({"t": "failure", "at": 1, "code": "error", "message": "caf\udce9"})
    job = submit(daemon, 7003, events=[event], exit_code=1)
    assert (job["state"], "caf\ufffd" in job["reason"]) == ("failed", True)
    assert daemon.request("GET", f"/v1/jobs/{job['id']}/events?follow=false")[0] == 200


def test_what_earlier_versions_stored_is_told_at_every_door(daemon, webhook):
    job, other = train(daemon, 7004), train(daemon, 7005)
    daemon.kill()
    with closing(sqlite3.connect(daemon.state_dir / "trainbox.db")) as db:
        for table, column, text in [
            ("jobs", "metrics", METRICS),
            ("models", "metrics", METRICS),
            ("models", "parity", POISON),
            ("models", "signature", POISON),
            ("models", "facts", json.dumps({"result": json.loads(POISON), "check": {}})),
        ]:
            assert db.execute(f"UPDATE {table} SET {column} = ?", (text,)).rowcount
        for at in (-62_135_596_800_000_000, 253_402_300_799_000_000):
            sql = "INSERT INTO events (job_id, kind, at, data) VALUES (?, 'message', ?, ?)"
            db.execute(sql, (job["id"], at, POISON))
        body = json.dumps({"type": "x", "timestamp": "", "data": json.loads(POISON)})
        assert db.execute("UPDATE webhook_messages SET body = ?", (body,)).rowcount
        db.commit()
    daemon.start()
    require_answers(daemon, job, other, webhook)
