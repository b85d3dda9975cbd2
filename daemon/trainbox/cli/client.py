"""The daemon over HTTP: problems become errors with an exit code, event streams reconnect."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx2

from trainbox import __version__
from trainbox.cli.exits import STATUS_EXITS, CliError, Exit
from trainbox.cli.hints import with_commands
from trainbox.cli.urls import segment

CONNECT_S = 5.0
ANSWER_S = 120.0
READ_UPLOAD_S = 3600.0
"""Longest wait for the answer to an upload: the daemon gives its reader half an hour, and there may
be a queue before it."""
STREAM_SILENCE_S = 60.0
"""Longest silence of a stream; the daemon sends a comment every 15 s."""
RECONNECT_FOR_S = 120.0
"""How long a lost stream is tried again before the daemon counts as unreachable."""
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class Client:
    """One daemon and one token.

    Args:
        url: base URL without a trailing slash, or ``unix:///path`` of a socket.
        token: bearer token; empty for routes that ask for none.
        reconnect_for_s: how long a lost event stream is tried again.
    """

    def __init__(self, url: str, token: str, *, reconnect_for_s: float = RECONNECT_FOR_S) -> None:
        self.url = url
        self._reconnect_for_s = reconnect_for_s
        parts = urlsplit(url)
        unix = parts.path if parts.scheme == "unix" and not parts.netloc else ""
        if not unix and (parts.scheme not in {"http", "https"} or not parts.hostname):
            raise CliError(
                f"{url!r} is not a URL of a daemon.",
                Exit.USAGE,
                next_step="Write http://HOST:PORT, https://HOST or unix:///PATH/TO/SOCKET.",
            )
        self._http = httpx2.Client(
            base_url="http://localhost" if unix else url,
            transport=httpx2.HTTPTransport(uds=unix) if unix else None,
            headers={
                "User-Agent": f"trainbox/{__version__}",
                **({"Authorization": f"Bearer {token}"} if token else {}),
            },
            timeout=httpx2.Timeout(ANSWER_S, connect=CONNECT_S),
            # A proxy from the environment must not see this machine talk to itself.
            trust_env=not unix and parts.hostname not in LOOPBACK,
        )

    def close(self) -> None:
        """Let go of connections."""
        self._http.close()

    def get(self, path: str, **params: Any) -> Any:
        """GET a JSON document."""
        return self._send("GET", path, params=_given(params))

    def post(self, path: str, body: object = None, *, key: str | None = None) -> Any:
        """POST a JSON document; with an idempotency key a lost answer is asked for again."""
        headers = {"Idempotency-Key": key} if key else {}
        try:
            return self._send("POST", path, json=body, headers=headers)
        except _Lost:
            if key is None:
                raise
            return self._send("POST", path, json=body, headers=headers)

    def put(self, path: str, body: object) -> Any:
        """PUT a JSON document."""
        return self._send("PUT", path, json=body)

    def patch(self, path: str, body: object) -> Any:
        """PATCH with a JSON document."""
        return self._send("PATCH", path, json=body)

    def delete(self, path: str) -> Any:
        """DELETE; returns the JSON document of the answer, None where there is none."""
        return self._send("DELETE", path)

    def request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        """Send anything and return the whole answer; a refusal is raised.

        Args:
            method: of HTTP.
            path: from the root.
            options: of ``httpx2.Client.request``.

        Raises:
            CliError: the daemon refused or does not answer.
        """
        with self._errors(path):
            response = self._http.request(method, path, **options)
        _raise_problem(response)
        return response

    def pages(self, path: str, **params: Any) -> Iterator[dict[str, Any]]:
        """Iterate every item of a listing, page after page."""
        after: str | None = None
        while True:
            page = self.get(path, **params, after=after)
            yield from page["items"]
            after = page["next"]
            if after is None:
                return

    @contextlib.contextmanager
    def stream(
        self, path: str, *, headers: Mapping[str, str] | None = None, **params: Any
    ) -> Iterator[httpx2.Response]:
        """Open a download or a log; the caller reads ``iter_bytes()``."""
        headers = {"Accept": "*/*", **(headers or {})}
        timeout = httpx2.Timeout(ANSWER_S, connect=CONNECT_S, read=None)
        with (
            self._errors(path),
            self._http.stream(
                "GET", path, params=_given(params), headers=headers, timeout=timeout
            ) as response,
        ):
            _raise_problem(response)
            yield response

    def events(self, job_id: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Iterate a job's events to its end, through restarts of the daemon, none twice.

        Raises:
            CliError: the daemon stayed away for ``reconnect_for_s`` seconds.
        """
        lost_at: float | None = None
        while True:
            try:
                for event in self._events_once(job_id, after):
                    lost_at, after = None, event["seq"]
                    yield event
                if self.get(f"/v1/jobs/{segment(job_id)}")["state"] in FINAL:
                    return
            except CliError as error:
                if error.exit_code != Exit.UNREACHABLE:
                    raise
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > self._reconnect_for_s:
                    raise
            time.sleep(1.0)

    def recorded_events(self, job_id: str, *, after: int = 0) -> Iterator[dict[str, Any]]:
        """Iterate the events there are, without waiting for more."""
        path = f"/v1/jobs/{segment(job_id)}/events"
        with self.stream(path, after=after, follow="false") as response:
            for line in response.iter_lines():
                yield json.loads(line)

    def log(self, job_id: str, *, offset: int = 0, follow: bool = False) -> Iterator[bytes]:
        """Iterate what a job printed; following, to its end and through restarts of the daemon.

        Raises:
            CliError: the daemon stayed away for ``reconnect_for_s`` seconds.
        """
        path = f"/v1/jobs/{segment(job_id)}"
        lost_at: float | None = None
        while True:
            try:
                with self.stream(f"{path}/logs", offset=offset, follow=follow or None) as response:
                    for chunk in response.iter_bytes():
                        lost_at, offset = None, offset + len(chunk)
                        yield chunk
                if not follow or self.get(path)["state"] in FINAL:
                    return
            except CliError as error:
                if not follow or error.exit_code != Exit.UNREACHABLE:
                    raise
                lost_at = lost_at or time.monotonic()
                if time.monotonic() - lost_at > self._reconnect_for_s:
                    raise
            time.sleep(1.0)

    def _events_once(self, job_id: str, after: int) -> Iterator[dict[str, Any]]:
        path = f"/v1/jobs/{segment(job_id)}/events"
        headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
        timeout = httpx2.Timeout(ANSWER_S, connect=CONNECT_S, read=STREAM_SILENCE_S)
        with (
            self._errors(path),
            self._http.stream("GET", path, headers=headers, timeout=timeout) as response,
        ):
            _raise_problem(response)
            if response.status_code == httpx2.codes.NO_CONTENT:
                return
            for event in httpx2.EventSource(response):
                if event.data:
                    yield json.loads(event.data)

    def _send(self, method: str, path: str, **options: Any) -> Any:
        response = self.request(method, path, **options)
        return response.json() if response.content else None

    @contextlib.contextmanager
    def _errors(self, path: str) -> Iterator[None]:
        try:
            yield
        except httpx2.ConnectError as error:
            raise self._unreachable(f"{error}") from None
        except httpx2.HTTPError as error:
            raise _Lost(
                f"The connection to {self.url} was lost.",
                Exit.UNREACHABLE,
                where=[f"{path}: {type(error).__name__} {error}".rstrip()],
                next_step="Look whether the daemon runs, then try again.",
            ) from None

    def _unreachable(self, detail: str) -> CliError:
        return CliError(
            f"No daemon answers at {self.url}.",
            Exit.UNREACHABLE,
            where=[detail],
            next_step="Start one with 'trainbox serve', or name one with --url or TRAINBOX_URL.",
        )


class _Lost(CliError):
    """The connection broke after it was made: whether the request was carried out is unknown."""


FINAL = frozenset({"succeeded", "failed", "cancelled", "interrupted"})


def reading_upload() -> httpx2.Timeout:
    """Return how long to wait for the answer to data."""
    return httpx2.Timeout(ANSWER_S, connect=CONNECT_S, read=READ_UPLOAD_S)


def _given(params: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in params.items() if value is not None}


def _raise_problem(response: httpx2.Response) -> None:
    """Turn a refusal into a :class:`CliError`."""
    if response.status_code < httpx2.codes.BAD_REQUEST:
        return
    response.read()
    problem = _object(response)
    what = problem.get("detail") or problem.get("title") or ""
    where = [field_line(one) for one in problem.get("errors", ())]
    request_id = problem.get("request_id")
    if response.status_code >= httpx2.codes.INTERNAL_SERVER_ERROR and request_id:
        where.append(f"request id {request_id}")
    raise CliError(
        what or f"The daemon answered {response.status_code}.",
        STATUS_EXITS.get(response.status_code, Exit.INTERNAL),
        where=where,
        next_step=with_commands(problem.get("hint", "")),
        code=problem.get("code", ""),
        problem=problem,
    )


def _object(response: httpx2.Response) -> dict[str, Any]:
    """Return a JSON object, or an empty one where the body is anything else."""
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def field_line(error: Mapping[str, Any]) -> str:
    """Return one wrong field as a line: where, what, and how to mend it."""
    place = ".".join(str(part) for part in error["loc"])
    hint = with_commands(error.get("hint", ""))
    return f"{place}: {error['msg']}" + (f" ({hint})" if hint else "")
