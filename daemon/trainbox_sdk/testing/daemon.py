"""A real daemon in its own process, for end-to-end tests of plugins and of trainbox itself.

Nothing is faked: ``trainbox serve`` runs on a free loopback port with its own state directory, and
the small client below speaks HTTP to it with the standard library alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
TERMINAL = frozenset({"succeeded", "failed", "cancelled", "interrupted"})


class RequestFailed(AssertionError):
    """An answer of 400 or more, with its problem body.

    Attributes:
        status: HTTP status.
        body: the parsed problem, or the text.
    """

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status}: {json.dumps(body) if isinstance(body, dict) else body}")
        self.status = status
        self.body = body


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class DaemonProcess:
    """``trainbox serve`` as a child process; a context manager that starts and stops it.

    Args:
        state_dir: the daemon's state; survives a stop, so that the daemon can be started again.
        plugins_file: what loads; None for the bundled list.
        env: further variables, such as ``TRAINBOX_BACKEND``.
        command: how to start it; by default this interpreter's ``trainbox``.
    """

    def __init__(
        self,
        state_dir: Path,
        *,
        plugins_file: Path | None = None,
        env: Mapping[str, str] | None = None,
        command: tuple[str, ...] = (sys.executable, "-m", "trainbox", "serve"),
    ) -> None:
        self.state_dir = state_dir
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = state_dir.with_name(state_dir.name + ".daemon.log")
        self._command = command
        self._env = {**os.environ, **(env or {})}
        self._env |= {"TRAINBOX_STATE_DIR": str(state_dir), "TRAINBOX_PORT": str(self.port)}
        if plugins_file is not None:
            self._env["TRAINBOX_PLUGINS_FILE"] = str(plugins_file)
        self._process: subprocess.Popen[bytes] | None = None

    # -- the process --------------------------------------------------------------------------

    def start(self) -> None:
        """Start and wait until it answers.

        Raises:
            RuntimeError: it ended, or did not answer within :data:`START_TIMEOUT_S`.
        """
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(self._command, env=self._env, stdout=log, stderr=log)
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                self.request("GET", "/healthz", token=None)
            except OSError:
                time.sleep(0.05)
            else:
                return
        raise RuntimeError(f"the daemon did not start:\n{self.log_path.read_text()[-4000:]}")

    def stop(self) -> int:
        """Send SIGTERM and return the exit code; running sandboxes go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(STOP_TIMEOUT_S)
        self._process = None
        return code

    def kill(self) -> None:
        """Send SIGKILL: what a crash or the kernel would do."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    @property
    def pid(self) -> int:
        """Process id of the running daemon."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        """Stop it, whatever state it is in."""
        if self._process is not None:
            try:
                self.stop()
            except subprocess.TimeoutExpired:
                self.kill()

    # -- the client ---------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """The first token, which the daemon wrote for local use."""
        return (self.state_dir / "token").read_text().strip()

    def request(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        token: str | None = "",
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Send one request; return status, headers and body.

        Args:
            method: HTTP method.
            path: path and query.
            body: request body.
            headers: request headers.
            token: bearer token; empty for the daemon's own, None for none.

        Raises:
            OSError: nobody listens.
        """
        request = urllib.request.Request(self.url + path, data=body, method=method)  # noqa: S310
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        if token is not None:
            request.add_header("Authorization", f"Bearer {token or self.token}")
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def call(self, method: str, path: str, document: Any = None, **headers: str) -> Any:
        """Send and receive JSON.

        Raises:
            RequestFailed: the answer is 400 or more.
        """
        body = None if document is None else json.dumps(document).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None:
            sent["Content-Type"] = "application/json"
        status, _, answer = self.request(method, path, body, headers=sent)
        parsed = json.loads(answer) if answer else None
        if status >= 400:  # noqa: PLR2004 - HTTP
            raise RequestFailed(status, parsed)
        return parsed

    def upload(self, data: bytes, *, name: str, content_type: str = "text/csv") -> Any:
        """Store a dataset and return it."""
        query = urllib.parse.urlencode({"name": name})
        status, _, answer = self.request(
            "POST", f"/v1/datasets?{query}", data, headers={"Content-Type": content_type}
        )
        parsed = json.loads(answer)
        if status >= 400:  # noqa: PLR2004 - HTTP
            raise RequestFailed(status, parsed)
        return parsed

    def submit(self, task: str, **spec: Any) -> str:
        """Submit a job and return its id."""
        return str(self.call("POST", "/v1/jobs", {"task": task, **spec})["id"])

    def job(self, job_id: str) -> Any:
        """Return a job."""
        return self.call("GET", f"/v1/jobs/{job_id}")

    def wait(self, job_id: str, timeout_s: float = 300.0) -> Any:
        """Return the job once it has ended.

        Raises:
            TimeoutError: it had not; the message has its last state and the daemon's log.
        """
        return self.until(job_id, lambda job: job["state"] in TERMINAL, timeout_s)

    def until(self, job_id: str, fine: Any, timeout_s: float = 60.0) -> Any:
        """Return the job once ``fine(job)`` is true.

        Raises:
            TimeoutError: it never was.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            job = self.job(job_id)
            if fine(job):
                return job
            if time.monotonic() > deadline:
                log = self.log_path.read_text()[-3000:]
                raise TimeoutError(f"{job_id} is {job['state']}: {job.get('reason')}\n{log}")
            time.sleep(0.1)

    def events(self, job_id: str, after: int = 0) -> list[Any]:
        """Return a job's events so far, without following."""
        return list(self.stream(job_id, after=after, follow=False))

    def stream(self, job_id: str, *, after: int = 0, follow: bool = True) -> Iterator[Any]:
        """Iterate a job's events (``seq``, ``kind``, ``data``…) from the server-sent stream."""
        path = f"/v1/jobs/{job_id}/events?after={after}&follow={str(follow).lower()}"
        request = urllib.request.Request(self.url + path)  # noqa: S310
        request.add_header("Authorization", f"Bearer {self.token}")
        request.add_header("Accept", "text/event-stream")
        with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
            for line in answer:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])
