"""Downloads: whole directories, single files, and what a broken connection leaves."""

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from trainbox.cli import pull
from trainbox_sdk.testing.fake_engine import ONNX_BYTES


@pytest.fixture
def model(daemon, job):
    daemon.do(daemon.engine.finish(job("--name", "churn")))
    return "churn"


def test_the_whole_directory_and_again(run, model, tmp_path):
    folder = tmp_path / "deep" / "model"
    assert run("models", "pull", model, "--all", "-o", folder).out.strip() == str(folder)
    assert (folder / "model.onnx").read_bytes() == ONNX_BYTES
    assert set(path.name for path in folder.iterdir()) == {"model.onnx", "manifest.json"}
    (folder / "model.onnx").write_bytes(b"spoilt")
    kept = (folder / "manifest.json").stat().st_mtime_ns
    run("models", "pull", model, "--all", "-o", folder)
    assert (folder / "model.onnx").read_bytes() == ONNX_BYTES
    assert (folder / "manifest.json").stat().st_mtime_ns == kept


def test_one_file_of_the_directory(run, model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("models", "pull", model, "--file", "manifest.json").out.strip() == "manifest.json"
    assert "model.onnx" in (tmp_path / "manifest.json").read_text()
    refused = run("models", "pull", model, "--file", "card.md", code=5)
    assert "model.onnx" in refused.err
    assert "card.md" in run("models", "card", model, code=5).err


def test_the_files_there_are(run, model):
    assert run("models", "files", model, "-o", "id").out.split() == ["manifest.json", "model.onnx"]
    assert len(run("models", "files", model, "--json").json()) == 2


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--all", "--file", "x"), "either --all or --file"),
        (("-o", "."), "is a folder"),
        (("--all", "-o", "file"), "is a file"),
        (("-o", "file/x.onnx"), "file"),
    ],
)
def test_wrong_targets(run, model, args, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert said in run("models", "pull", model, *args, code=2).err


DATA = bytes(range(256)) * 1000
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


class Flaky(BaseHTTPRequestHandler):
    """A daemon with one model, whose connection breaks after some bytes."""

    def do_GET(self):
        if not self.path.endswith("/onnx"):
            found = {"id": "m", "name": "m", "version": 1, "digest": DIGEST, "bytes": len(DATA)}
            found["files"] = self.server.listing
            return self.answer(200, json.dumps(found).encode())
        asked = self.headers.get("Range", "bytes=0-")
        self.server.asked.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-"))
        piece = next(self.server.pieces, None)
        self.answer(206 if start else 200, DATA[start:], piece)

    def answer(self, status, body, piece=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if piece is None else body[:piece])
        self.close_connection = piece is not None

    def log_message(self, *args):
        pass


@contextmanager
def flaky(*pieces, listing=()):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Flaky)
    server.pieces, server.asked, server.listing = iter(pieces), [], list(listing)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(pull, "PAUSE_S", 0.01)


def test_a_broken_connection_is_taken_up_where_it_broke(run, tmp_path):
    with flaky(100_000, 50_000) as (server, url):
        run("--url", url, "models", "pull", "m", "-o", tmp_path / "m.onnx")
    assert server.asked == ["bytes=0-", "bytes=100000-", "bytes=150000-"]
    assert [path.name for path in tmp_path.iterdir() if "onnx" in path.name] == ["m.onnx"]
    assert (tmp_path / "m.onnx").read_bytes() == DATA


def test_the_same_command_goes_on_later(run, tmp_path):
    with flaky(70_000, *[0] * pull.TRIES) as (_, url):
        refused = run("--url", url, "models", "pull", "m", "-o", tmp_path / "m.onnx", code=7)
    assert "goes on after 68.4 KiB" in refused.err
    assert not (tmp_path / "m.onnx").exists()
    with flaky() as (server, url):
        run("--url", url, "models", "pull", "m", "-o", tmp_path / "m.onnx")
    assert server.asked == ["bytes=70000-"]
    assert (tmp_path / "m.onnx").read_bytes() == DATA


def test_a_spoilt_part_is_thrown_away(run, tmp_path):
    part = tmp_path / f".m.onnx.{DIGEST[7:19]}.part"
    part.write_bytes(b"x" * 10)
    with flaky() as (_, url):
        args = ("--url", url, "models", "pull", "m", "-o", tmp_path / "m.onnx")
        assert "digest" in run(*args, code=1).err
        assert not part.exists()
        run(*args)
    assert (tmp_path / "m.onnx").read_bytes() == DATA


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil"])
def test_a_daemon_cannot_choose_another_folder(run, tmp_path, name):
    listing = [{"path": name, "bytes": 1, "digest": DIGEST, "media_type": "x"}]
    with flaky(listing=listing) as (_, url):
        refused = run("--url", url, "models", "pull", "m", "--all", "-o", tmp_path / "m", code=1)
    assert "leads elsewhere" in refused.err
    assert not (tmp_path / "m").exists()
