"""One way to say what is sent, two ways to send it.

An operation is a generator: it yields a :class:`Request`, is sent the response and returns its
result. So every operation is written once, and :class:`Transport` runs it blocking or awaiting.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import httpx2
import stamina

from trainbox_client.errors import RateLimited, Unavailable, Unreachable, api_error
from trainbox_client.locate import Daemon

T = TypeVar("T")
P = ParamSpec("P")

CONNECT_S = 5.0
ANSWER_S = 120.0
ATTEMPTS = 5
LONGEST_WAIT_S = 30.0
SAFE = frozenset({"GET", "HEAD", "PUT", "DELETE"})
NEXT_STREAM_S = 60.0
"""Longest silence of a stream; the daemon sends a comment every 15 s."""


@dataclass(frozen=True)
class Request:
    """One request, sent again where that cannot do it twice.

    Attributes:
        json: body, or None.
        content: body as bytes, or None.
        again: whether it may be sent again although the first try may have worked; None asks the
            method, and the presence of an ``Idempotency-Key``.
        read_s: seconds to wait for the answer.
        after_s: seconds to wait before it is sent.
    """

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    again: bool | None = None
    read_s: float = ANSWER_S
    after_s: float = 0.0

    @property
    def repeatable(self) -> bool:
        """Whether the same request twice is the same as once."""
        if self.again is not None:
            return self.again
        return self.method in SAFE or "Idempotency-Key" in self.headers

    def options(self) -> dict[str, Any]:
        """Return what httpx2 is told."""
        return {
            "params": {name: value for name, value in self.params.items() if value is not None},
            "json": self.json,
            "content": self.content,
            "headers": dict(self.headers),
            "timeout": httpx2.Timeout(ANSWER_S, connect=CONNECT_S, read=self.read_s),
        }


Steps = Generator[Request, httpx2.Response, T]
"""An operation under way: yields requests, is sent responses, returns its result."""


class Transport:
    """Connections to one daemon, blocking and awaiting, each made when first used."""

    def __init__(self, daemon: Daemon, user_agent: str) -> None:
        self.daemon = daemon
        self._agent = user_agent
        self._blocking: httpx2.Client | None = None
        self._awaiting: httpx2.AsyncClient | None = None

    @property
    def blocking(self) -> httpx2.Client:
        """The client of threads."""
        if self._blocking is None:
            socket = self.daemon.unix_socket
            transport = httpx2.HTTPTransport(uds=socket) if socket else None
            self._blocking = httpx2.Client(transport=transport, **self._options())
        return self._blocking

    @property
    def awaiting(self) -> httpx2.AsyncClient:
        """The client of an event loop."""
        if self._awaiting is None:
            socket = self.daemon.unix_socket
            transport = httpx2.AsyncHTTPTransport(uds=socket) if socket else None
            self._awaiting = httpx2.AsyncClient(transport=transport, **self._options())
        return self._awaiting

    def run(self, steps: Steps[T]) -> T:
        """Carry an operation out and return its result.

        Raises:
            TrainboxError: the daemon refused or does not answer.
        """
        try:
            request = next(steps)
            while True:
                try:
                    response = self.send(request)
                except Unreachable as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(response)
        except StopIteration as done:
            result: T = done.value
            return result

    async def run_async(self, steps: Steps[T]) -> T:
        """Carry an operation out on an event loop; see :meth:`run`."""
        try:
            request = next(steps)
            while True:
                try:
                    response = await self.send_async(request)
                except Unreachable as error:
                    request = steps.throw(error)
                else:
                    request = steps.send(response)
        except StopIteration as done:
            result: T = done.value
            return result

    def send(self, request: Request) -> httpx2.Response:
        """Send one request; repeatable ones several times, as the daemon's ``Retry-After`` says."""
        time.sleep(request.after_s)
        for attempt in stamina.retry_context(on=worth_waiting, **_patience(request)):
            with attempt, lost_connections(self.daemon.url):
                response = self.blocking.request(request.method, request.path, **request.options())
                raise_refusal(response)
        return response

    async def send_async(self, request: Request) -> httpx2.Response:
        """Send one request from an event loop; see :meth:`send`."""
        await asyncio.sleep(request.after_s)
        async for attempt in stamina.retry_context(on=worth_waiting, **_patience(request)):
            with attempt, lost_connections(self.daemon.url):
                response = await self.awaiting.request(
                    request.method, request.path, **request.options()
                )
                raise_refusal(response)
        return response

    def close(self) -> None:
        """Let go of the connections of threads."""
        if self._blocking is not None:
            self._blocking.close()
            self._blocking = None

    async def aclose(self) -> None:
        """Let go of all connections."""
        self.close()
        if self._awaiting is not None:
            await self._awaiting.aclose()
            self._awaiting = None

    def _options(self) -> dict[str, Any]:
        return {
            "base_url": self.daemon.url,
            "headers": {
                "Authorization": f"Bearer {self.daemon.token}",
                "User-Agent": self._agent,
                "Accept": "application/json",
            },
            # A proxy from the environment must not see a host talk to itself.
            "trust_env": not self.daemon.local,
        }


def worth_waiting(error: Exception) -> bool | dt.timedelta:
    """Tell whether a request is worth another try, and after which time if the daemon says it."""
    if isinstance(error, Unreachable):
        return True
    if not isinstance(error, (RateLimited, Unavailable)) or error.status not in {429, 503}:
        return False
    wait = error.problem.get("retry_after_s")
    return dt.timedelta(seconds=min(wait, LONGEST_WAIT_S)) if wait is not None else True


def raise_refusal(response: httpx2.Response) -> None:
    """Raise the error a response stands for; its body must be read.

    Raises:
        ApiError: the status is 400 or more.
    """
    if response.status_code < httpx2.codes.BAD_REQUEST:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        problem = {"detail": response.text[:500] or f"The daemon answered {response.status_code}."}
    after = response.headers.get("Retry-After", "")
    if after.isdigit():
        problem["retry_after_s"] = int(after)
    raise api_error(response.status_code, problem)


@contextmanager
def lost_connections(url: str) -> Iterator[None]:
    """Turn what a network can do into :class:`Unreachable`."""
    try:
        yield
    except httpx2.ConnectError as error:
        raise Unreachable(
            f"no daemon answers at {url} ({error}); start one with 'trainbox serve'"
        ) from None
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise Unreachable(
            f"the connection to {url} was lost: {type(error).__name__} {error}".rstrip()
        ) from None


def _patience(request: Request) -> dict[str, Any]:
    return {"attempts": ATTEMPTS if request.repeatable else 1, "timeout": None, "wait_max": 5.0}


def blocking(
    operation: Callable[Concatenate[Any, P], Steps[T]],
) -> Callable[Concatenate[Any, P], T]:
    """Return an operation as a method that blocks until its result is there."""

    @wraps(operation)
    def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        transport: Transport = self.transport
        return transport.run(operation(self, *args, **kwargs))

    return method


def awaiting(
    operation: Callable[Concatenate[Any, P], Steps[T]],
) -> Callable[Concatenate[Any, P], Awaitable[T]]:
    """Return an operation as a coroutine method."""

    @wraps(operation)
    async def method(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> T:
        transport: Transport = self.transport
        return await transport.run_async(operation(self, *args, **kwargs))

    return method
