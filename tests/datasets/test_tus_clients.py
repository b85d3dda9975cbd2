"""The real tuspy against the real daemon: through a 503, broken requests, a kill -9."""

from __future__ import annotations

import http.client
import http.server
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from tusclient.client import TusClient
from tusclient.exceptions import TusCommunicationError

from trainbox_sdk.testing.daemon import DaemonProcess

ROWS = b"".join(b"%d,city %d\n" % (number, number % 7) for number in range(20_000))
CSV = b"age,city\n" + ROWS
CHUNK = 64 * 1024


class Weather:
    """What happens to the next PATCH requests: ``503``, ``cut`` half-way, or nothing."""

    def __init__(self) -> None:
        self.plan: list[str] = []
        self.met: list[str] = []


@contextmanager
def rough_proxy(target: str) -> Iterator[tuple[str, Weather]]:
    """Pass requests on to the daemon, PATCHes through some weather first."""
    weather, host = Weather(), urlsplit(target).netloc

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def relay(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            now = weather.plan.pop(0) if self.command == "PATCH" and weather.plan else ""
            if now:
                weather.met.append(now)
            if now == "503":
                self.answer(503, [("Content-Length", "0")], b"")
                return
            daemon = http.client.HTTPConnection(host, timeout=60)
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            if now == "cut":
                daemon.putrequest(self.command, self.path)
                for name, value in headers.items():
                    daemon.putheader(name, value)
                daemon.endheaders()
                daemon.send(body[: len(body) // 2])
                daemon.close()
                self.close_connection = True
                return
            daemon.request(self.command, self.path, body, headers)
            reply = daemon.getresponse()
            kept = [(k, v) for k, v in reply.getheaders() if k.lower() != "connection"]
            self.answer(reply.status, kept, reply.read())
            daemon.close()

        def answer(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_HEAD = do_PATCH = do_DELETE = do_GET = relay

        def log_message(self, *args: object) -> None:
            del args

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", weather
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def source() -> io.BytesIO:
    return io.BytesIO(CSV)  # tuspy leaves files that it opens itself open


def client(url: str, daemon: DaemonProcess) -> TusClient:
    return TusClient(f"{url}/v1/uploads", headers={"Authorization": f"Bearer {daemon.token}"})


def fate(daemon: DaemonProcess, url: str) -> dict[str, object]:
    upload: dict[str, object] = daemon.call("GET", urlsplit(url).path)
    return upload


def test_tuspy_uploads_through_503s_and_cut_connections(
    daemon: DaemonProcess, source: io.BytesIO
) -> None:
    with rough_proxy(daemon.url) as (url, weather):
        weather.plan = ["", "503", "", "cut", "503"]
        uploader = client(url, daemon).uploader(
            file_stream=source,
            chunk_size=CHUNK,
            retries=5,
            retry_delay=0.05,
            metadata={"filename": "people.csv", "name": "rough"},
        )
        uploader.upload()
    assert weather.met == ["503", "cut", "503"]
    upload = fate(daemon, uploader.url)
    assert (upload["state"], upload["received"]) == ("done", len(CSV))
    made = daemon.call("GET", f"/v1/datasets/{upload['dataset_id']}")
    assert (made["name"], made["version"], made["rows"]) == ("rough", 1, 20_000)
    assert daemon.upload(CSV, name="rough")["id"] == made["id"]


def test_tuspy_goes_on_after_the_daemon_was_killed(
    daemon: DaemonProcess, source: io.BytesIO
) -> None:
    def resume(stored: str | None = None) -> object:
        uploader = client(daemon.url, daemon).uploader(
            file_stream=source, chunk_size=CHUNK, url=stored, metadata={"filename": "people.csv"}
        )
        return uploader

    first = resume()
    first.upload_chunk()
    first.upload_chunk()
    confirmed = first.offset
    assert confirmed == 2 * CHUNK
    daemon.kill()
    with pytest.raises((TusCommunicationError, OSError)):
        first.upload_chunk()
    daemon.start()
    again = resume(first.url)
    assert again.offset == confirmed
    again.upload()
    upload = fate(daemon, first.url)
    assert upload["state"] == "done"
    assert daemon.call("GET", f"/v1/datasets/{upload['dataset_id']}")["rows"] == 20_000
    assert not list((daemon.state_dir / "uploads").iterdir())


def test_tuspy_uploads_bad_data_and_the_faults_can_be_had(daemon: DaemonProcess) -> None:
    bad = io.BytesIO(b"a,b\n1\n2,3\n=4,5,6\n")
    uploader = client(daemon.url, daemon).uploader(
        file_stream=bad, metadata={"filename": "bad.csv", "types": json.dumps({"a": "number"})}
    )
    uploader.upload()
    upload = fate(daemon, uploader.url)
    assert (upload["state"], upload["dataset_id"]) == ("failed", None)
    assert [fault["row"] for fault in upload["failure"]["faults"]] == [1, 3, 3]
    status, headers, body = daemon.request("GET", urlsplit(uploader.url).path + "/faults")
    lines = body.decode().splitlines()
    assert (status, headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    assert lines[0] == "file,row,line,column,rule,value,message,hint"
    assert [line.split(",")[:3] for line in lines[1:]] == [
        ["bad.csv", "1", "2"],
        ["bad.csv", "3", "4"],
        ["bad.csv", "3", "4"],
    ]
    assert "not_a_number,'=4'" in body.decode()
