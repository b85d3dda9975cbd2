"""Tokens against a real daemon: made, used, rotated, revoked; what they own; what is written of them."""

from __future__ import annotations

import json
import secrets
import socket
import sqlite3
from contextlib import closing

import pytest

from trainbox.engine.tokens import read_credential
from trainbox_sdk.errors import TrainboxError
from trainbox_sdk.testing.daemon import DaemonProcess, RequestFailed

CSV = b"a,b\n1,2\n3,4\n"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    env = {"TRAINBOX_BACKEND": "process", "TRAINBOX_UNIX_SOCKET": str(folder / "unix.sock")}
    with DaemonProcess(folder / "state", env=env) as running:
        yield running


def make(daemon, **fields):
    return daemon.call("POST", "/v1/tokens", {"name": secrets.token_hex(6), **fields})


def ask(daemon, method, path, token, body=None, content_type="application/json"):
    data = json.dumps(body).encode() if isinstance(body, dict) else body
    headers = {"Content-Type": content_type} if data is not None else {}
    status, headers, answer = daemon.request(method, path, data, headers=headers, token=token)
    return status, headers, json.loads(answer) if answer else None


def test_the_first_token_is_an_admins_and_private(daemon):
    own = daemon.call("GET", "/v1/tokens/self")
    assert (own["subject"], own["name"], own["source"]) == ("local", "local", "first")
    assert own["scopes"] == ["admin", "predict", "read", "submit"]
    assert (daemon.state_dir / "token").stat().st_mode & 0o777 == 0o600


def test_a_token_from_making_to_revoking(daemon):
    made = make(daemon, scopes=["read", "submit"], subject="ann", expires_in_s=3600)
    text = made.pop("token")
    assert made["created_at"] < made["expires_at"]
    status, _, seen = ask(daemon, "GET", "/v1/tokens/self", text)
    assert (status, seen["id"], seen["subject"]) == (200, made["id"], "ann")
    assert "token" not in seen
    listed = daemon.call("GET", "/v1/tokens?limit=1")
    assert listed["items"][0]["id"] == made["id"]
    assert daemon.call("GET", f"/v1/tokens/{made['id']}")["last_used_at"] is not None
    gone = daemon.call("DELETE", f"/v1/tokens/{made['id']}")
    assert gone["revoked_at"] is not None
    status, headers, problem = ask(daemon, "GET", "/v1/jobs", text)
    assert (status, problem["code"]) == (401, "unauthenticated")
    assert headers["WWW-Authenticate"] == 'Bearer realm="trainbox", error="invalid_token"'
    assert daemon.call("DELETE", f"/v1/tokens/{made['id']}") == gone


def test_things_belong_to_the_subject_and_outlive_its_tokens(daemon):
    first = make(daemon, scopes=["read", "submit"], subject="bea")
    status, _, data = ask(daemon, "POST", "/v1/datasets?name=mine", first["token"], CSV, "text/csv")
    assert status == 201
    daemon.call("DELETE", f"/v1/tokens/{first['id']}")
    second = make(daemon, scopes=["read"], subject="bea")
    other = make(daemon, scopes=["read"], subject="eve")
    where = f"/v1/datasets/{data['id']}"
    assert ask(daemon, "GET", where, second["token"])[0] == 200
    status, _, problem = ask(daemon, "GET", where, other["token"])
    assert (status, problem["code"]) == (404, "dataset_not_found")


def test_rotation_leaves_the_old_secret_a_while(daemon):
    made = make(daemon, scopes=["read"])
    where = f"/v1/tokens/{made['id']}/rotate"
    new = daemon.call("POST", where, {"grace_s": 3600})
    assert new["token"] != made["token"]
    assert (new["id"], new["name"]) == (made["id"], made["name"])
    assert new["previous_until_at"] > new["rotated_at"]
    assert [ask(daemon, "GET", "/v1/jobs", t["token"])[0] for t in (made, new)] == [200, 200]
    last = daemon.call("POST", where, {})
    texts = [t["token"] for t in (made, new, last)]
    assert [ask(daemon, "GET", "/v1/jobs", text)[0] for text in texts] == [401, 401, 200]


@pytest.mark.parametrize(
    ("body", "status", "word"),
    [
        ({}, 422, "name"),
        ({"name": "", "scopes": ["read"]}, 422, "name"),
        ({"name": " blank ", "scopes": ["read"]}, 422, "no blank around"),
        ({"name": "a\nb", "scopes": ["read"]}, 422, "printable"),
        ({"name": "x" * 129, "scopes": ["read"]}, 422, "128"),
        ({"name": "x", "scopes": []}, 422, "scopes"),
        ({"name": "x", "scopes": ["root"]}, 422, "submit"),
        ({"name": "x", "scopes": "read"}, 422, "scopes"),
        ({"name": "x", "scopes": ["read"], "expires_in_s": 0}, 422, "expires_in_s"),
        ({"name": "x", "scopes": ["read"], "expires_in_s": 1e300}, 422, "expires_in_s"),
        ({"name": "x", "scopes": ["read"], "subject": "\u202eevil"}, 422, "subject"),
        ({"name": "x", "scopes": ["read"], "secret": "mine"}, 422, "secret"),
        ({"name": "local", "subject": "local", "scopes": ["read"]}, 409, "live token named"),
    ],
)
def test_what_no_token_can_be(daemon, body, status, word):
    before = daemon.call("GET", "/v1/tokens?limit=500")["items"]
    with pytest.raises(RequestFailed) as refused:
        daemon.call("POST", "/v1/tokens", body)
    assert refused.value.status == status
    assert word in json.dumps(refused.value.body, ensure_ascii=False)
    assert daemon.call("GET", "/v1/tokens?limit=500")["items"] == before


def test_tokens_that_are_not_there(daemon):
    for method, path, body in [
        ("GET", "/v1/tokens/tok_none", None),
        ("DELETE", "/v1/tokens/tok_none", None),
        ("POST", "/v1/tokens/tok_none/rotate", {}),
    ]:
        with pytest.raises(RequestFailed) as refused:
            daemon.call(method, path, body)
        assert (refused.value.status, refused.value.body["code"]) == (404, "token_not_found")


def test_the_last_admin_stays(daemon):
    own = daemon.call("GET", "/v1/tokens/self")
    with pytest.raises(RequestFailed) as refused:
        daemon.call("DELETE", f"/v1/tokens/{own['id']}")
    assert refused.value.body["code"] == "last_admin_token"
    with pytest.raises(RequestFailed) as refused:
        daemon.call("POST", f"/v1/tokens/{own['id']}/rotate", {"expires_in_s": 1})
    assert refused.value.body["code"] == "last_admin_token"


def test_admin_alone_may_see_or_make_tokens_and_read_the_audit_log(daemon):
    text = make(daemon, scopes=["submit", "read", "predict"])["token"]
    for method, path, body in [
        ("GET", "/v1/tokens", None),
        ("POST", "/v1/tokens", {"name": "x", "scopes": ["read"]}),
        ("GET", "/v1/audit", None),
        ("GET", "/v1/audit/verify", None),
    ]:
        status, _, problem = ask(daemon, method, path, text, body)
        assert (status, problem["code"]) == (403, "missing_scope"), (method, path)


def test_acts_are_listed_with_their_origin(daemon):
    made = make(daemon, scopes=["read"])
    sent = {"Content-Type": "application/json", "X-Request-ID": f"req-{made['id'][-8:]}"}
    where = f"/v1/tokens/{made['id']}/rotate"
    assert daemon.request("POST", where, b"{}", headers=sent)[0] == 200
    path = daemon._env["TRAINBOX_UNIX_SOCKET"]
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(path)
        head = f"DELETE /v1/tokens/{made['id']} HTTP/1.1\r\nHost: localhost\r\n"
        auth = f"Authorization: Bearer {daemon.token}\r\nConnection: close\r\n\r\n"
        sock.sendall((head + auth).encode())
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        while sock.recv(4096):
            pass
    acts = daemon.call("GET", f"/v1/audit?object={made['id']}")["items"]
    assert [act["act"] for act in acts] == ["token.revoke", "token.rotate", "token.create"]
    assert {act["who"] for act in acts} == {"local"}
    own = daemon.call("GET", "/v1/tokens/self")["id"]
    assert {act["token_id"] for act in acts} == {own}
    assert [act["peer"] for act in acts] == ["unix:uid=0", "127.0.0.1", "127.0.0.1"]
    [rotated] = daemon.call("GET", f"/v1/audit?request_id={sent['X-Request-ID']}")["items"]
    assert rotated["seq"] == acts[1]["seq"]
    assert acts[0]["prev"] == acts[1]["hash"] or acts[0]["seq"] > acts[1]["seq"] + 1


def test_the_audit_log_is_filtered_and_paged(daemon):
    for _ in range(5):
        make(daemon, scopes=["read"])
    everything = daemon.call("GET", "/v1/audit?act=token.&limit=500")["items"]
    pages, after = [], ""
    while True:
        page = daemon.call("GET", f"/v1/audit?act=token.&limit=3{after}")
        pages += page["items"]
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert pages == everything
    assert {act["act"].partition(".")[0] for act in everything} == {"token"}
    until = everything[2]["at"].replace("+", "%2B")
    older = daemon.call("GET", f"/v1/audit?act=token.&limit=500&until={until}")["items"]
    newer = daemon.call("GET", f"/v1/audit?act=token.&limit=500&since={until}")["items"]
    assert newer + older == everything
    assert len(newer) >= 3
    assert daemon.call("GET", "/v1/audit?who=nobody")["items"] == []
    for bad in ("act=x&act=y", "since=yesterday", "limit=0", "after=zzz", "what=1"):
        with pytest.raises(RequestFailed) as refused:
            daemon.call("GET", f"/v1/audit?{bad}")
        assert refused.value.status == 422, bad


def test_no_secret_is_seen_anywhere(daemon):
    """Unique texts go into every place for a secret; none of them comes out of any file or answer."""
    made = make(daemon, scopes=["read"])
    rotated = daemon.call("POST", f"/v1/tokens/{made['id']}/rotate", {})
    canaries = [text["token"].rsplit("_", 1)[1] for text in (made, rotated)]
    canaries.append(daemon.token.rsplit("_", 1)[1])
    wrong = secrets.token_hex(32)
    canaries.append(wrong)
    answers = []
    for token in (f"tb_{made['id'][4:]}_{wrong}", wrong, rotated["token"], made["token"]):
        for path in ("/v1/jobs", "/v1/jobs/x", "/v1/tokens", "/v1/nowhere", "/v1/audit?limit=500"):
            answers.append(daemon.request("GET", path, token=token)[1:])
            answers.append(daemon.request("POST", path, b"{", token=token)[1:])
    own = ("/metrics", "/openapi.json", "/v1/audit?limit=500", "/v1/tokens", "/v1/tokens/self")
    answers += [daemon.request("GET", path)[1:] for path in own]
    said = repr(answers)
    assert not [canary for canary in canaries if canary in said]
    files = [daemon.log_path, *daemon.state_dir.rglob("*")]
    seen = {
        str(path)
        for path in files
        if path.is_file() and path.name != "token"
        for canary in canaries
        if canary.encode() in path.read_bytes()
    }
    assert seen == set()
    with closing(sqlite3.connect(daemon.state_dir / "trainbox.db")) as db:
        assert len(db.execute("SELECT secret_sha256 FROM tokens").fetchall()) > 1
    assert "request" in daemon.log_path.read_text(), "there was a log to look into"


@pytest.mark.parametrize(
    ("secret", "fault"),
    [("short", "at least 32"), ("with blank " * 5, "printable"), ("é" * 40, "printable")],
    ids=["short", "blanks", "letters"],
)
def test_what_no_credential_can_be(tmp_path, secret, fault):
    (tmp_path / "token").write_text(secret)
    with pytest.raises(TrainboxError, match=fault) as refused:
        read_credential(tmp_path / "token")
    assert secret not in str(refused.value)


def test_a_credential_that_is_no_secret_stops_the_start(tmp_path):
    (tmp_path / "token").write_text("not-much-of-a-secret")
    env = {"TRAINBOX_BACKEND": "process", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    with pytest.raises(RuntimeError, match="is no secret") as refused:
        DaemonProcess(tmp_path / "state", env=env).start()
    assert "not-much-of-a-secret" not in str(refused.value)


def test_the_services_credential_is_the_first_token(tmp_path):
    secret = secrets.token_hex(32)
    (tmp_path / "token").write_text(secret + "\n")
    env = {"TRAINBOX_BACKEND": "process", "CREDENTIALS_DIRECTORY": str(tmp_path)}
    with DaemonProcess(tmp_path / "state", env=env) as daemon:
        status, _, own = ask(daemon, "GET", "/v1/tokens/self", secret)
        assert (status, own["source"], own["subject"]) == (200, "credential", "local")
        assert not (tmp_path / "state" / "token").exists()
        status, _, problem = ask(daemon, "POST", f"/v1/tokens/{own['id']}/rotate", secret, {})
        assert (status, problem["code"]) == (409, "token_from_credential")
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert not [path for path in kept if secret.encode() in path.read_bytes()]
