"""Health, metrics, drain and the access log of a real daemon."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from trainbox_sdk.testing.daemon import DaemonProcess

FORWARDED = {"X-Forwarded-For": "203.0.113.9"}
NUMBERS = itertools.count()
SECRET = re.compile(r"tb_[0-9a-v]+_[0-9a-f]{64}")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with DaemonProcess(
        tmp_path_factory.mktemp("daemon") / "state", env={"TRAINBOX_LOG_LEVEL": "INFO"}
    ) as daemon:
        yield daemon


def samples(daemon: DaemonProcess) -> dict:
    status, headers, body = daemon.request("GET", "/metrics", token=None)
    assert status == 200 and headers["Content-Type"].startswith("text/plain; version=")
    return {
        (s.name, *s.labels.values()): s.value
        for f in text_string_to_metric_families(body.decode())
        for s in f.samples
    }


def access_lines(daemon: DaemonProcess) -> list[dict]:
    lines = [l for l in daemon.log_path.read_text().splitlines() if l.startswith("{")]
    return [f for f in map(json.loads, lines) if f["logger"] == "trainbox.access"]


def token(daemon: DaemonProcess, scope: str) -> str:
    asked = {"name": f"{scope}-{next(NUMBERS)}", "scopes": [scope]}
    made = daemon.call("POST", "/v1/tokens", asked)
    return next(value for value in made.values() if SECRET.fullmatch(str(value)))


# --- health


def test_liveness_needs_no_token_and_no_disk(daemon: DaemonProcess) -> None:
    before = samples(daemon)["trainbox_commit_seconds_count",]
    for _ in range(50):
        assert daemon.request("GET", "/livez", token=None)[0] == 200
    # Only the heartbeat wrote meanwhile.
    assert samples(daemon)["trainbox_commit_seconds_count",] - before <= 3


def test_readiness_names_each_check_and_writes_nothing(daemon: DaemonProcess) -> None:
    before = samples(daemon)["trainbox_commit_seconds_count",]
    for _ in range(20):
        status, _, body = daemon.request("GET", "/readyz", token=None)
    document = json.loads(body)
    assert status == 200 and document["status"] == "ready"
    assert [c["name"] for c in document["checks"]] == ["store", "backend", "space", "accepting"]
    assert all(c["ok"] and c["detail"] for c in document["checks"])
    assert samples(daemon)["trainbox_commit_seconds_count",] - before <= 6


# --- metrics


def test_requests_are_counted_by_template(daemon: DaemonProcess) -> None:
    for number in range(3):
        daemon.request("GET", f"/v1/jobs/job_nobody{number}")
    daemon.request("GET", "/nowhere/at/all")
    seen = samples(daemon)
    assert seen["trainbox_http_requests_total", "GET", "/v1/jobs/{id}", "4xx"] == 3
    assert seen["trainbox_http_requests_total", "GET", "unmatched", "4xx"] >= 1
    assert seen["trainbox_heartbeats_total", "ok"] >= 1
    assert seen["trainbox_free_bytes",] > 0 and seen["trainbox_jobs", "queued"] == 0
    assert not [key for key in seen if "job_nobody" in str(key)]


def test_an_invented_method_makes_no_label(daemon: DaemonProcess) -> None:
    daemon.request("BREW", "/v1/jobs")
    assert not [key for key in samples(daemon) if "BREW" in key]


def test_who_may_read_metrics(daemon: DaemonProcess) -> None:
    def status(**more) -> tuple[int, str]:
        given, headers, _ = daemon.request("GET", "/metrics", headers=FORWARDED, **more)
        return given, headers.get("WWW-Authenticate", "")

    assert status(token=None) == (401, 'Bearer realm="trainbox"')
    assert status(token="tb_x_" + "0" * 64)[0] == 401
    assert status(token=token(daemon, "predict"))[0] == 403
    assert status(token=token(daemon, "read"))[0] == 200


def test_public_metrics_ask_nobody(tmp_path) -> None:
    with DaemonProcess(tmp_path / "s", env={"TRAINBOX_METRICS_PUBLIC": "true"}) as daemon:
        assert daemon.request("GET", "/metrics", headers=FORWARDED, token=None)[0] == 200


# --- drain


def test_a_draining_daemon_takes_no_job_and_answers_everything_else(daemon: DaemonProcess) -> None:
    drained = {"draining": True, "running": 0, "queued": 0}
    assert daemon.call("POST", "/v1/admin/drain") == drained
    assert daemon.call("POST", "/v1/admin/drain") == drained  # a second time changes nothing
    try:
        status, headers, body = daemon.request(
            "POST",
            "/v1/jobs",
            json.dumps({"task": "regression"}).encode(),
            headers={"Content-Type": "application/json"},
        )
        assert (status, json.loads(body)["code"]) == (503, "draining")
        assert int(headers["Retry-After"]) > 0
        status, _, body = daemon.request("GET", "/readyz", token=None)
        (check,) = [c for c in json.loads(body)["checks"] if c["name"] == "accepting"]
        assert status == 503 and not check["ok"]
        assert daemon.request("GET", "/v1/jobs")[0] == 200
        data = daemon.upload(b"a,b\n1,x\n2,y\n", name="while-draining")
        assert data["id"]
    finally:
        assert daemon.call("POST", "/v1/admin/undrain")["draining"] is False
    assert daemon.request("GET", "/readyz", token=None)[0] == 200
    acts = [row["act"] for row in daemon.call("GET", "/v1/audit")["items"]]
    assert sorted(a for a in acts if a.startswith("daemon.")) == ["daemon.drain", "daemon.undrain"]


def test_only_an_admin_drains(daemon: DaemonProcess) -> None:
    other = token(daemon, "submit")
    for method, path in (
        ("GET", "/v1/admin/drain"),
        ("POST", "/v1/admin/drain"),
        ("POST", "/v1/admin/undrain"),
    ):
        assert daemon.request(method, path, token=other)[0] == 403
    assert daemon.call("GET", "/v1/admin/drain")["draining"] is False


# --- the access log


def test_each_request_leaves_a_line_that_says_who_and_what(daemon: DaemonProcess) -> None:
    daemon.request("GET", "/v1/jobs/job_gone?x=secret-query", headers={"X-Request-ID": "find-me-1"})
    (line,) = [f for f in access_lines(daemon) if f["request_id"] == "find-me-1"]
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/jobs/{id}", 422)
    assert line["token"].startswith("tok_") and line["ms"] > 0 and line["bytes"] > 0
    assert line["peer"] == "127.0.0.1"
    assert "secret-query" not in daemon.log_path.read_text()


def test_health_is_too_often_for_lines_at_the_usual_level(daemon: DaemonProcess) -> None:
    daemon.request("GET", "/livez", headers={"X-Request-ID": "never-seen"})
    assert "never-seen" not in daemon.log_path.read_text()


def test_no_token_is_in_the_log(daemon: DaemonProcess) -> None:
    token(daemon, "read")
    text = daemon.log_path.read_text()
    assert daemon.token not in text and not SECRET.search(text)


def test_the_log_of_requests_can_be_switched_off(tmp_path) -> None:
    with DaemonProcess(tmp_path / "s", env={"TRAINBOX_ACCESS_LOG": "false"}) as daemon:
        daemon.request("GET", "/v1/jobs")
        assert not access_lines(daemon)
