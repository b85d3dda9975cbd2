"""Promote, predict, roll back, throw away: over HTTP, on the daemon, with models it trained."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from urllib.parse import quote

import pytest

from trainbox_sdk.testing.daemon import RequestFailed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("models")]

PROMOTES, CLIENTS = 50, 4
ROW = {"age": 25, "plan": "free", "city": "Łódź", "active": False, "signed_up": "2024-01-15"}


class Client(threading.Thread):
    """Predicts through one reference over one connection until told to stop."""

    def __init__(self, daemon, reference):
        super().__init__(daemon=True)
        self.port, self.path = daemon.port, f"/v1/models/{quote(reference)}/predict"
        self.headers = {
            "Authorization": f"Bearer {daemon.token}",
            "Content-Type": "application/json",
        }
        self.stop = threading.Event()
        self.answers, self.broken = Counter(), []

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        body = json.dumps({"rows": [ROW, {**ROW, "age": None}]})
        try:
            while not self.stop.is_set():
                connection.request("POST", self.path, body, self.headers)
                reply = connection.getresponse()
                answer = json.loads(reply.read())
                if reply.status != 200:
                    self.broken.append((reply.status, answer))
                    continue
                self.answers[answer["model_id"], json.dumps(answer["rows"])] += 1
        except (OSError, http.client.HTTPException) as error:
            self.broken.append(repr(error))
        finally:
            connection.close()


def test_fifty_promotes_under_load_drop_nothing(trained):
    daemon, path = trained.daemon, f"/v1/models/{quote(trained.name)}"
    rows = [ROW, {**ROW, "age": None}]
    expected = set()
    for model in trained.models:
        answer = daemon.call("POST", f"/v1/models/{model['id']}/predict", {"rows": rows})
        expected.add((model["id"], json.dumps(answer["rows"])))
    assert len({rows for _, rows in expected}) == 2, "the versions must be told apart"
    daemon.call("PUT", f"{path}/aliases/champion", {"version": 1})
    clients = [Client(daemon, f"{trained.name}@champion") for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for turn in range(PROMOTES):
        version = 2 - turn % 2
        moved = daemon.call(
            "POST",
            f"{path}/promote",
            {"version": version, "reason": f"turn {turn}", "expected_version": 3 - version},
        )
        assert moved["version"] == version
        # What is asked after the move is answered by the new version.
        answer = daemon.call("POST", f"{path}@champion/predict", {"rows": rows})
        assert answer["model_id"] == trained.models[version - 1]["id"]
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(60)
        assert not client.is_alive()
    assert [client.broken for client in clients] == [[]] * CLIENTS
    seen = sum((client.answers for client in clients), Counter())
    assert set(seen) == expected, "every answer is one version's, whole"
    history = daemon.call("GET", f"{path}/aliases/champion/history?limit=500")["items"]
    assert [change["act"] for change in history][:PROMOTES] == ["promote"] * PROMOTES
    assert history[0]["reason"] == f"turn {PROMOTES - 1}"


def refused(daemon, method, path, document=None):
    with pytest.raises(RequestFailed) as error:
        daemon.call(method, path, document)
    return error.value.status, error.value.body["code"]


def test_promote_roll_back_and_look_back(trained):
    daemon, path = trained.daemon, f"/v1/models/{quote(trained.name)}"
    assert refused(daemon, "GET", f"{path}/aliases/judge/history") == (404, "alias_not_found")
    assert refused(daemon, "POST", f"{path}/rollback", {"alias": "judge"}) == (
        404,
        "alias_not_found",
    )
    judge = {"alias": "judge"}
    daemon.call("POST", f"{path}/promote", {"version": 1, **judge, "reason": "the first"})
    assert refused(
        daemon, "POST", f"{path}/promote", {"version": 2, **judge, "expected_version": 2}
    ) == (409, "alias_moved")
    assert refused(daemon, "POST", f"{path}/promote", {"version": 7, **judge}) == (
        404,
        "model_not_found",
    )
    daemon.call("POST", f"{path}/promote", {"version": 2, **judge, "reason": "better"})
    back = daemon.call("POST", f"{path}/rollback", {**judge, "reason": "worse after all"})
    assert (back["alias"], back["version"]) == ("judge", 1)
    assert refused(daemon, "POST", f"{path}/rollback", judge) == (409, "no_version_before")
    history = daemon.call("GET", f"{path}/aliases/judge/history?limit=2")
    told = [(c["act"], c["from_version"], c["to_version"], c["reason"]) for c in history["items"]]
    assert told == [("rollback", 2, 1, "worse after all"), ("promote", 1, 2, "better")]
    rest = daemon.call("GET", f"{path}/aliases/judge/history?after={history['next']}")["items"]
    assert [(c["act"], c["to_version"]) for c in rest] == [("promote", 1)]
    listed = daemon.call("GET", f"{path}/aliases")["items"]
    assert [one["version"] for one in listed if one["alias"] == "judge"] == [1]
    assert refused(daemon, "DELETE", f"{path}/aliases/judge?expected_version=2") == (
        409,
        "alias_moved",
    )
    daemon.call("DELETE", f"{path}/aliases/judge?reason=retired")
    assert refused(daemon, "GET", f"{path}@judge") == (404, "model_not_found")
    last = daemon.call("GET", f"{path}/aliases/judge/history?limit=1")["items"][0]
    assert (last["act"], last["to_version"], last["reason"]) == ("delete", None, "retired")


def test_the_trash_and_back(trained):
    daemon, path = trained.daemon, f"/v1/models/{quote(trained.name)}"
    first = f"/v1/models/{trained.models[0]['id']}"
    daemon.call("PUT", f"{path}/aliases/kept", {"version": 1})
    assert refused(daemon, "DELETE", first) == (409, "model_aliased")
    for alias in daemon.call("GET", f"{path}/aliases")["items"]:
        daemon.call("DELETE", f"{path}/aliases/{alias['alias']}")
    thrown = daemon.call("DELETE", first)
    assert thrown["trashed_at"] and not thrown["purged_at"]
    assert daemon.call("GET", first) == thrown
    for url in (f"{path}:1", f"{path}:1/onnx"):
        assert refused(daemon, "GET", url) == (404, "model_not_found")
    for url in (f"{first}/onnx", f"{first}/files", f"{first}/archive"):
        assert refused(daemon, "GET", url) == (404, "model_trashed")
    assert refused(daemon, "POST", f"{first}/predict", {"rows": [ROW]}) == (404, "model_trashed")
    assert refused(daemon, "POST", f"{path}/promote", {"version": 1}) == (409, "model_trashed")
    versions = daemon.call("GET", f"{path}/versions")["items"]
    assert [model["version"] for model in versions] == [2]
    trashed = daemon.call("GET", "/v1/models?trashed=true")["items"]
    assert [model["id"] for model in trashed] == [trained.models[0]["id"]]
    restored = daemon.call("POST", f"{first}/restore")
    assert restored["trashed_at"] is None
    assert daemon.call("GET", f"{path}:1")["id"] == trained.models[0]["id"]
    versions = daemon.call("GET", f"{path}/versions?limit=1")
    assert versions["items"][0]["version"] == 2 and versions["next"]


def test_a_listing_is_filtered_and_sorted(trained):
    daemon = trained.daemon
    query = f"/v1/models?name={quote(trained.name)}&sort=created_at&task=binclass"
    assert [m["id"] for m in daemon.call("GET", query)["items"]] == [
        model["id"] for model in trained.models
    ]
    assert daemon.call("GET", "/v1/models?name=nope")["items"] == []
    for query in ("sort=size", "trashed=maybe", "alias=a%20b", "nope=1"):
        assert refused(daemon, "GET", f"/v1/models?{query}") == (422, "validation_failed")
