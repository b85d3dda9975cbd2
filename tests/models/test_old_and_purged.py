"""Versions made by an older daemon, and versions given up for good; on a daemon of their own."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest

from trainbox_sdk.testing.daemon import DaemonProcess, RequestFailed

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("models")]


@pytest.fixture(scope="module")
def own(tmp_path_factory, people_csv):
    state = tmp_path_factory.mktemp("old") / "state"
    with DaemonProcess(state, env={"TRAINBOX_BACKEND": "process"}) as daemon:
        data = daemon.upload(people_csv, name="people")
        params = {"target": "age", "trials": 1, "max_iterations": 2, "ignore": ["left"]}
        ended = daemon.wait(
            daemon.submit("regression", dataset_id=data["id"], name="age", params=params)
        )
        assert ended["state"] == "succeeded", ended["reason"]
        yield daemon, ended["model_id"]


def forget_facts(daemon):
    """Leave the rows as a daemon would that knew of no directories."""
    daemon.kill()
    with closing(sqlite3.connect(daemon.state_dir / "trainbox.db")) as db:
        db.execute("UPDATE models SET facts = '{}'")
        db.execute("DELETE FROM model_files")
        db.commit()
    daemon.start()


def test_a_version_from_before_directories_has_one_all_the_same(own):
    daemon, model_id = own
    forget_facts(daemon)
    url = f"/v1/models/{model_id}/files"
    listing = daemon.call("GET", url)
    paths = {file["path"] for file in listing["files"]}
    assert {"model.onnx", "MLmodel", "card.md", "preview.json", "provenance.json"} <= paths
    preview = daemon.call("GET", f"{url}/preview.json")
    assert (preview["source"], len(preview["rows"])) == ("gaps", 1)
    assert set(preview["rows"][0].values()) == {None}
    answer = daemon.call("POST", f"/v1/models/{model_id}/predict", {"rows": preview["rows"]})
    assert answer["rows"] == preview["predictions"]
    # Made from nothing once more, it is the same to the byte.
    forget_facts(daemon)
    assert daemon.call("GET", url) == listing


def test_a_purge_gives_the_bytes_of_a_version_back(own):
    daemon, model_id = own
    url = f"/v1/models/{model_id}"
    listing = daemon.call("GET", f"{url}/files")["files"]

    def there(file):
        name = file["digest"].removeprefix("sha256:")
        return (daemon.state_dir / "blobs" / "sha256" / name[:2] / name[2:]).exists()

    assert all(map(there, listing))
    daemon.call("DELETE", url)
    asked = {"older_than_s": 0, "dry_run": True}
    look = daemon.call("POST", "/v1/trash/purge", asked)
    assert all(map(there, listing)) and daemon.call("GET", url)["purged_at"] is None
    done = daemon.call("POST", "/v1/trash/purge", {**asked, "dry_run": False})
    assert done["freed_bytes"] == look["freed_bytes"] == sum(file["bytes"] for file in listing)
    assert [(one["kind"], one["id"]) for one in done["purged"]] == [("model", model_id)]
    assert not any(map(there, listing))
    assert daemon.call("GET", url)["purged_at"]
    with pytest.raises(RequestFailed) as refused:
        daemon.call("POST", f"{url}/restore")
    assert (refused.value.status, refused.value.body["code"]) == (409, "model_purged")
    for path in ("/onnx", "/files", "/archive"):
        status, _, body = daemon.request("GET", url + path)
        assert (status, json.loads(body)["code"]) == (404, "model_trashed")
