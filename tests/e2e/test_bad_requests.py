"""Every request of the table, sent to a real daemon: its answer, and that nothing is left of it."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import bad_requests
import pytest
from bad_requests import Bad, cases

from trainbox_sdk.testing.daemon import DaemonProcess

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("e2e-bad")]

ROOT = Path(__file__).parents[2]
GROWTH_KIB = 150 * 1024
"""How much more the daemon may hold after all of it, its caches and pools included."""

UNTOUCHED = {"audit_anchor", "audit_anchors"}
SETTINGS = {
    "TRAINBOX_BACKEND": "process",
    "TRAINBOX_MAX_UPLOAD_BYTES": "200000",
    "TRAINBOX_HEADER_TIMEOUT_S": "1.5",
    "TRAINBOX_BODY_TIMEOUT_S": "2",
    "TRAINBOX_RATE_LIMIT_AUTH_FAILURES": "1000/minute",
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    folder = tmp_path_factory.mktemp("bad-requests")
    (folder / "roots").mkdir()
    (folder / "secret.csv").write_text("a\n1\n")
    env = {**SETTINGS, "TRAINBOX_ALLOWED_IMPORT_ROOTS": json.dumps([str(folder / "roots")])}
    with DaemonProcess(folder / "state", env=env) as running:
        yield running


def token(daemon: DaemonProcess, name: str, scopes: list[str], **more: Any) -> Any:
    return daemon.call("POST", "/v1/tokens", {"name": name, "scopes": scopes, **more})


@pytest.fixture(scope="module")
def words(daemon: DaemonProcess, make_churn: Callable[..., bytes]) -> dict[str, str]:
    """Make what the requests speak of."""
    dataset = daemon.upload(make_churn(60), name="bad")
    params = {"target": "churned", "features": ["age", "plan"], "trials": 1, "max_iterations": 5}
    job = daemon.wait(daemon.submit("binclass", dataset_id=dataset["id"], params=params))
    assert job["state"] == "succeeded", job["reason"]
    model = daemon.call("GET", f"/v1/models/{job['model_id']}")
    other = token(daemon, "other", ["submit"], subject="someone")["token"]
    theirs = daemon.request(
        "POST", "/v1/datasets?name=theirs", b"a,b\n1,2\n3,4\n",
        headers={"Content-Type": "text/csv"}, token=other,
    )  # fmt: skip
    status, headers, _ = daemon.request(
        "POST", "/v1/uploads",
        headers={"Tus-Resumable": "1.0.0", "Upload-Length": "50", "Upload-Metadata": "format Y3N2"},
    )  # fmt: skip
    assert status == 201
    return {
        "dataset": dataset["id"],
        "job": job["id"],
        "model": model["id"],
        "name": model["name"],
        "other": json.loads(theirs[2])["id"],
        "upload": headers["Location"].rpartition("/")[2],
        "url": daemon.url,
        "roots": str(daemon.state_dir.parent / "roots"),
        "token": daemon.token,
    }


@pytest.fixture(scope="module")
def tokens(daemon: DaemonProcess) -> dict[str, str]:
    expired = token(daemon, "expired", ["read"], expires_in_s=1)
    revoked = token(daemon, "revoked", ["read"])
    daemon.call("DELETE", f"/v1/tokens/{revoked['id']}")
    made = {
        "admin": daemon.token,
        "expired": expired["token"],
        "revoked": revoked["token"],
        "unknown": "tb_nobody_nothing",
        "reader": token(daemon, "reader", ["read"])["token"],
        "predictor": token(daemon, "predictor", ["predict"])["token"],
        "stranger": token(daemon, "s", ["read", "submit", "predict"], subject="stranger")["token"],
        "stranger-submit": token(daemon, "t", ["submit", "read"], subject="stranger")["token"],
    }
    time.sleep(1)  # the least that a token can live; nothing tells when it is over
    return made


def fill(text: str, words: dict[str, str]) -> str:
    for name, value in words.items():
        text = text.replace(f"<{name}>", value)
    return text


def fill_bytes(data: bytes, words: dict[str, str]) -> bytes:
    if len(data) > 4096:
        return data
    for name, value in words.items():
        data = data.replace(f"<{name}>".encode(), value.encode())
    return data


def send(daemon: DaemonProcess, one: Bad, words: dict[str, str], tokens: dict[str, str]):
    """Send one request; returns status (0 for none), headers and text."""
    if one.raw:
        return send_raw(daemon.port, fill_bytes(one.raw, words))
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=30)
    with closing(connection):
        connection.putrequest(
            one.method, fill(one.path, words), skip_host="Host" in one.headers,
            skip_accept_encoding=True,
        )  # fmt: skip
        for name, value in one.headers.items():
            connection.putheader(name, fill(value, words))
        if one.token:
            connection.putheader("Authorization", f"Bearer {tokens[one.token]}")
        body = fill_bytes(one.body, words)
        if body or one.method in {"POST", "PUT", "PATCH"}:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        try:
            connection.send(body)
        except (BrokenPipeError, ConnectionResetError):
            pass  # refused before all of it came; the answer is there
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()


def send_raw(port: int, data: bytes):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as sock:
        try:
            sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = b""
        while not answer or b"\r\n\r\n" not in answer or not whole(answer):
            try:
                chunk = sock.recv(65536)
            except ConnectionResetError:
                break
            if not chunk:
                break
            answer += chunk
    if not answer:
        return 0, {}, ""
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers, body.decode()


def whole(answer: bytes) -> bool:
    head, _, body = answer.partition(b"\r\n\r\n")
    lengths = [l for l in head.split(b"\r\n") if l.lower().startswith(b"content-length:")]
    return bool(lengths) and len(body) >= int(lengths[0].split(b":")[1])


def rows(daemon: DaemonProcess) -> dict[str, int]:
    uri = f"file:{daemon.state_dir}/trainbox.db?mode=ro"
    with closing(sqlite3.connect(uri, uri=True)) as db:
        names = [
            name
            for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            if name not in UNTOUCHED
        ]
        return {name: db.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in names}


def files(daemon: DaemonProcess) -> set[str]:
    """Return every file of the state directory but the database's own; a log may get compressed."""
    return {
        str(path.relative_to(daemon.state_dir)).removesuffix(".zst")
        for path in daemon.state_dir.rglob("*")
        if path.is_file() and not path.name.startswith(("trainbox.db", "audit"))
    }


def resident_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


@pytest.fixture(scope="module")
def before(daemon: DaemonProcess, words: dict[str, str], tokens: dict[str, str]) -> dict[str, Any]:
    good = json.dumps({"rows": [{"age": 3, "plan": "pro"}]}).encode()
    warm = daemon.request(
        "POST", f"/v1/models/{words['model']}/predict", good,
        headers={"Content-Type": "application/json"},
    )  # fmt: skip
    assert warm[0] == 200
    # A model's directory is laid out when it is first asked for.
    assert daemon.request("GET", f"/v1/models/{words['model']}/files")[0] == 200
    return {"rows": rows(daemon), "files": files(daemon), "memory": resident_kib(daemon.pid)}


@pytest.mark.parametrize("one", [pytest.param(case, id=name) for name, case in cases()])
def test_it_is_refused(
    daemon: DaemonProcess,
    words: dict[str, str],
    tokens: dict[str, str],
    before: dict[str, Any],
    one: Bad,
) -> None:
    status, headers, text = send(daemon, one, words, tokens)
    assert status == one.status, f"{one.what}: {status} {text[:600]}"
    assert fill(one.said, words) in (
        text if "\\u" not in text else json.loads(text)["detail"] + text
    ), f"{one.what}: {text[:600]}"
    if status and one.method != "HEAD":
        problem = json.loads(text)
        if one.path.startswith("/v2"):
            assert problem["error"]
        else:
            assert headers["Content-Type"].startswith("application/problem+json")
            assert problem["status"] == status and problem["detail"] and problem["code"]
            assert problem["hint"] or problem["errors"] or problem["detail"]
    if status == 405:
        assert headers["Allow"]
    if status == 401:
        assert headers["WWW-Authenticate"].startswith("Bearer")
    assert "Traceback" not in text and "site-packages" not in text


def test_afterwards_nothing_is_left(daemon: DaemonProcess, before: dict[str, Any]) -> None:
    """Runs last: uploads that were cut off may take a moment to be swept up."""
    deadline = time.monotonic() + 10
    while files(daemon) != before["files"] and time.monotonic() < deadline:
        time.sleep(0.1)
    assert files(daemon) == before["files"]
    assert rows(daemon) == before["rows"]
    status, _, body = daemon.request("GET", "/readyz", token=None)
    assert status == 200, body
    log = daemon.log_path.read_text()
    assert '"exception"' not in log and "Traceback" not in log
    assert resident_kib(daemon.pid) - before["memory"] < GROWTH_KIB


def test_there_are_enough_of_them_and_each_is_there_once() -> None:
    every = [one for _, one in cases()]
    assert len(every) >= 60
    assert len({(one.what, one.path, one.raw, one.token) for one in every}) == len(every)
    assert not [one for one in every if one.status >= 500]


def test_the_page_shows_the_table() -> None:
    assert (ROOT / "docs/bad-input.md").read_text() == bad_requests.page()
