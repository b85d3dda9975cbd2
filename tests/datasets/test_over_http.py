"""A dataset's life through the real daemon."""

import json
import os
import socket
import time

import pytest

from trainbox_sdk.testing.daemon import RequestFailed

CSV = b"age,city,churned\n31,=1+1,yes\n52,-3,no\n40,@x,yes\n"


def state_of(daemon):
    """Every file that holds somebody's data."""
    places = ("tmp", "uploads", "blobs")
    root = daemon.state_dir
    return {p for place in places for p in (root / place).rglob("*") if p.is_file()}


def settled(daemon, before):
    """Wait until no other files are there than before; pytest's timeout is the clock."""
    while state_of(daemon) != before:
        time.sleep(0.05)


def test_versions_and_replays(daemon):
    one = daemon.upload(CSV, name="life")
    two = daemon.upload(CSV + b"1,a,no\n", name="life")
    status, headers, body = daemon.request(
        "POST",
        "/v1/datasets?name=life",
        CSV + b"1,a,no\n",
        headers={"Content-Type": "text/csv"},
    )
    assert (status, headers["Dataset-Replayed"], json.loads(body)) == (200, "true", two)
    assert daemon.call("GET", "/v1/datasets/life") == two
    assert daemon.call("GET", "/v1/datasets/life:1") == one
    versions = daemon.call("GET", f"/v1/datasets/{one['id']}/versions")["items"]
    assert [each["version"] for each in versions] == [2, 1]
    changed = daemon.call("PATCH", "/v1/datasets/life", {"labels": {"team": "crm"}})
    assert (changed["labels"], changed["description"]) == ({"team": "crm"}, "")


def test_looking_at_the_rows(daemon):
    data = daemon.upload(CSV, name="rows")
    base = f"/v1/datasets/{data['id']}"
    assert daemon.call("GET", f"{base}/preview?rows=2") == {
        "columns": ["age", "city", "churned"],
        "rows": [[31, "=1+1", "yes"], [52, "-3", "no"]],
    }
    profile = daemon.call("GET", f"{base}/profile?target=churned")
    assert [each["column"]["name"] for each in profile["profile"]["columns"]] == [
        "age",
        "city",
        "churned",
    ]
    assert profile["target"]["target"] == "churned"
    status, _, text = daemon.request("GET", f"{base}/content?format=csv")
    assert (status, text.decode().splitlines()) == (
        200,
        ["age,city,churned", "31,'=1+1,yes", "52,'-3,no", "40,'@x,yes"],
    )
    with pytest.raises(RequestFailed) as missing:
        daemon.call("GET", f"{base}/profile?target=nope")
    assert missing.value.status == 422


def test_the_parquet_file_in_ranges(daemon):
    data = daemon.upload(CSV, name="ranges")
    path = f"/v1/datasets/{data['id']}/content"
    status, headers, whole = daemon.request("GET", path)
    etag = {name.lower(): value for name, value in headers.items()}["etag"]
    assert (status, len(whole), etag) == (200, data["bytes"], f'"{data["digest"]}"')
    half = len(whole) // 2
    first = daemon.request("GET", path, headers={"Range": f"bytes=0-{half - 1}"})
    rest = daemon.request("GET", path, headers={"Range": f"bytes={half}-"})
    assert (first[0], rest[0], first[2] + rest[2]) == (206, 206, whole)


def test_listings_in_every_order(daemon):
    for rows in (3, 1, 2):
        daemon.upload(b"a\n" + b"1\n" * rows, name=f"listed {rows}")

    def walk(query):
        names, after = [], ""
        while after is not None:
            page = daemon.call("GET", f"/v1/datasets?limit=2&{query}{after}")
            names += [d["name"] for d in page["items"] if d["name"].startswith("listed")]
            after = page["next"] and f"&after={page['next']}"
        return names

    by_rows = ["listed 1", "listed 2", "listed 3"]
    assert walk("sort=rows") == walk("sort=name") == by_rows
    assert walk("sort=-rows") == walk("sort=-name") == by_rows[::-1]
    assert walk("") == ["listed 2", "listed 1", "listed 3"]
    assert walk("sort=created") == ["listed 3", "listed 1", "listed 2"]
    with pytest.raises(RequestFailed, match="bad_cursor"):
        page = daemon.call("GET", "/v1/datasets?limit=1&sort=rows")
        daemon.call("GET", f"/v1/datasets?sort=bytes&after={page['next']}")


def test_trash_and_purge(daemon):
    data = daemon.upload(b"a,b\n7,8\n", name="gone")
    path = f"/v1/datasets/{data['id']}"
    assert daemon.call("DELETE", path)["trashed_at"] is not None
    with pytest.raises(RequestFailed, match="dataset_not_found"):
        daemon.call("GET", "/v1/datasets/gone")
    assert [
        d["id"] for d in daemon.call("GET", "/v1/datasets?trashed=true&name=gone")["items"]
    ] == [data["id"]]
    with pytest.raises(RequestFailed, match="in the trash"):
        daemon.submit("regression", dataset_id=data["id"], params={"target": "a"})
    assert daemon.call("POST", f"{path}/restore")["trashed_at"] is None
    daemon.call("DELETE", path)
    report = daemon.call("POST", "/v1/trash/purge", {"older_than_s": 0})
    assert (report["freed_bytes"], [each["id"] for each in report["purged"]]) == (
        data["bytes"],
        [data["id"]],
    )
    assert not (daemon.state_dir / "blobs" / report["files"][0]["path"]).exists()
    for call in ("preview", "content", "content?format=csv", "profile"):
        assert daemon.request("GET", f"{path}/{call}")[0] == 404
    assert daemon.request("POST", f"{path}/restore")[0] == 409
    with pytest.raises(RequestFailed, match="were purged"):
        daemon.submit("regression", dataset_id=data["id"], params={"target": "a"})


def test_an_import(daemon, import_root):
    (import_root / "churn.csv").write_bytes(CSV)
    (import_root / "odd").write_bytes(CSV)
    (import_root / "passwd").symlink_to("/etc/passwd")
    made = daemon.call("POST", "/v1/datasets/import", {"path": f"{import_root}/churn.csv"})
    assert (made["name"], made["rows"]) == ("churn.csv", 3)
    for body, where in (
        ({"path": f"{import_root}/odd"}, "format"),
        ({"path": f"{import_root}/passwd", "format": "csv"}, "path"),
    ):
        with pytest.raises(RequestFailed) as refused:
            daemon.call("POST", "/v1/datasets/import", body)
        assert (refused.value.status, refused.value.body["errors"][0]["loc"]) == (422, [where])


def test_faults_of_a_direct_upload_as_json_and_as_csv(daemon):
    before = state_of(daemon)
    bad = b"a,b\n1\n2,3\n4,5,6\n"
    headers = {"Content-Type": "text/csv"}
    status, _, body = daemon.request("POST", "/v1/datasets?name=bad", bad, headers=headers)
    problem = json.loads(body)
    assert (status, [fault["row"] for fault in problem["faults"]]) == (422, [1, 3])
    status, sent, text = daemon.request(
        "POST", "/v1/datasets?name=bad", bad, headers={**headers, "Accept": "text/csv"}
    )
    assert (status, sent["Content-Type"]) == (422, "text/csv; charset=utf-8")
    assert len(text.decode().splitlines()) == 3
    assert state_of(daemon) == before
    assert daemon.request("GET", "/v1/datasets/bad")[0] == 404


@pytest.mark.parametrize("path", ["/v1/datasets?format=csv", "form"])
def test_a_client_that_goes_away_leaves_nothing(daemon, path):
    before = state_of(daemon)
    kind, head = "text/csv", b""
    if path == "form":
        path, kind = "/v1/datasets", "multipart/form-data; boundary=b"
        head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.csv"\r\n\r\n'
    with socket.create_connection(("127.0.0.1", daemon.port)) as connection:
        connection.sendall(
            f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {daemon.token}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: 10000000\r\n\r\n".encode()
        )
        connection.sendall(head + b"a,b\n" + b"1,2\n" * 500_000)
        while state_of(daemon) == before:
            time.sleep(0.01)
    settled(daemon, before)


def test_a_kill_in_the_middle_of_uploads_and_purges_keeps_rows_and_bytes_together(daemon):
    import threading

    stop = threading.Event()

    def churn(number):
        turn = 0
        while not stop.is_set():
            turn += 1
            try:
                made = daemon.upload(b"a\n%d\n" % (turn % 3), name=f"churn {number}")
                if turn % 2:
                    daemon.call("DELETE", f"/v1/datasets/{made['id']}")
                daemon.call("POST", "/v1/trash/purge", {})
            except (OSError, RequestFailed):
                stop.wait(0.05)

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    time.sleep(2.5)
    daemon.kill()
    stop.set()
    for thread in threads:
        thread.join()
    daemon.start()
    daemon.call("POST", "/v1/trash/purge", {})
    live = daemon.call("GET", "/v1/datasets?limit=500")["items"]
    live += daemon.call("GET", "/v1/datasets?limit=500&trashed=true")["items"]
    assert any(each["name"].startswith("churn") for each in live)
    for each in live:
        assert daemon.request("GET", f"/v1/datasets/{each['id']}/content")[0] == 200
    names = {p.parent.name + p.name for p in (daemon.state_dir / "blobs/sha256").glob("*/*")}
    assert names == {each["digest"].removeprefix("sha256:") for each in live}
    assert not [p for p in state_of(daemon) if "/blobs/sha256/" not in os.fspath(p)]
