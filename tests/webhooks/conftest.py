"""A real daemon whose jobs are scripted, and receivers on loopback that answer as a test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trainbox_sdk.testing import scripted_plugin
from trainbox_sdk.testing.daemon import DaemonProcess


@dataclass
class Heard:
    """One request that a receiver got."""

    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> str:
        return str(json.loads(self.body)["type"])


class Receiver:
    """An HTTP server of its own thread.

    Attributes:
        answers: statuses of the next answers; when they are used up, 204.
        location: a Location header of every answer.
        silent: answers nothing while set.
    """

    def __init__(self, port: int = 0) -> None:
        self.heard: list[Heard] = []
        self.answers: list[int] = []
        self.location = ""
        self.silent = threading.Event()
        self._news = threading.Condition()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with receiver._news:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    receiver.heard.append(Heard(headers, body))
                    status = receiver.answers.pop(0) if receiver.answers else 204
                    receiver._news.notify_all()
                while receiver.silent.is_set():
                    time.sleep(0.02)
                try:
                    self.send_response(status)
                    if receiver.location:
                        self.send_header("Location", receiver.location)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                except ConnectionError:
                    pass

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/hook"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def wait(self, enough: Callable[[list[Heard]], bool]) -> list[Heard]:
        """Return what was heard once it is enough; pytest's timeout is the only other end."""
        with self._news:
            self._news.wait_for(lambda: enough(self.heard))
            return list(self.heard)

    def events(self, count: int) -> list[str]:
        return [one.event for one in self.wait(lambda heard: len(heard) >= count)]

    def close(self) -> None:
        self.silent.clear()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receivers() -> Iterator[Callable[..., Receiver]]:
    made: list[Receiver] = []

    def make(port: int = 0) -> Receiver:
        made.append(Receiver(port))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def receiver(receivers: Callable[..., Receiver]) -> Receiver:
    return receivers()


@dataclass
class Api:
    """What tests ask of the daemon."""

    daemon: DaemonProcess
    hooks: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.daemon, name)

    def hook(self, url: str, *events: str, **more: Any) -> Any:
        made = self.call("POST", "/v1/webhooks", {"url": url, "events": list(events), **more})
        self.hooks.append(made["id"])
        return made

    def log(self, webhook_id: str) -> list[Any]:
        return list(self.call("GET", f"/v1/webhooks/{webhook_id}/deliveries")["items"])

    def settled(self, webhook_id: str, count: int = 1) -> list[Any]:
        """Return the log once that many deliveries have ended."""
        while True:
            log = self.log(webhook_id)
            if sum(one["finished_at"] is not None for one in log) >= count:
                return log
            time.sleep(0.02)


def new_daemon(folder: Path, **env: str) -> DaemonProcess:
    plugins, known = scripted_plugin.install(folder / "plugin")
    settings = {
        "TRAINBOX_WEBHOOK_ALLOWED": "http://127.0.0.1:*,http://localhost:*",
        "TRAINBOX_WEBHOOK_RETRY_S": "0.05,0.05,0.05",
    }
    return DaemonProcess(folder / "state", plugins_file=plugins, env={**known, **settings, **env})


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    with new_daemon(tmp_path_factory.mktemp("webhooks")) as daemon:
        yield daemon


@pytest.fixture
def api(running: DaemonProcess) -> Iterator[Api]:
    made = Api(running)
    yield made
    for webhook_id in made.hooks:
        running.request("DELETE", f"/v1/webhooks/{webhook_id}")


@pytest.fixture
def make_daemon(tmp_path: Path) -> Callable[..., DaemonProcess]:
    return lambda **env: new_daemon(tmp_path, **env)
