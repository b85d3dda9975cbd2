"""The engine's long answers: attached output, kept logs, and the wait for an exit.

They are read with ``http.client`` over the Unix socket rather than through docker-py, whose attach
costs an extra inspect, drops bytes that arrived together with the answer's head, and cannot be
ended from another thread.
"""

from __future__ import annotations

import calendar
import http.client
import json
import socket
import struct
import time
from collections.abc import Iterator
from urllib.parse import quote, urlencode

from trainbox_plugins.docker_backend.engine_port import Clash, EngineRefused, Frame, NotThere
from trainbox_sdk.errors import BackendUnavailable

_FRAME_HEAD = struct.Struct(">BxxxL")
"""Stream number, three zero bytes, length: the engine's multiplexed stream format."""
_STAMP_BYTES = len("2006-01-02T15:04:05.000000000Z ")


def refusal(status: int, explanation: str) -> EngineRefused:
    """Return the error for an engine's "no"."""
    kind = {404: NotThere, 409: Clash}.get(status, EngineRefused)
    return kind(status, explanation)


def reach(path: str) -> None:
    """Connect to the engine's socket and let go again.

    Raises:
        BackendUnavailable: nobody is there; the sentence says what is wrong and how to fix it.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(2.0)
        try:
            probe.connect(path)
        except OSError as error:
            raise BackendUnavailable(_why_closed(path, error)) from error


def no_answer(path: str, error: Exception) -> str:
    """Return the sentence for an engine that took the connection and then failed to answer."""
    return f"the engine behind {path} takes connections and does not answer ({error})"


def _why_closed(path: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return (
            f"there is no Docker socket at {path}: install Docker Engine and start it "
            "(systemctl enable --now docker), or set socket_url to where it listens"
        )
    if isinstance(error, PermissionError):
        return (
            f"this user may not open the Docker socket {path}: add it to the socket's group "
            "(usermod -aG docker USER) and start the daemon again"
        )
    if isinstance(error, ConnectionRefusedError):
        return (
            f"nothing listens on the Docker socket {path}: the engine has stopped; "
            "start it (systemctl start docker) and look into its journal"
        )
    return f"the Docker socket {path} cannot be opened: {error}"


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Exchange:
    """One request whose answer is read for as long as it takes.

    Args:
        path: of the engine's Unix socket.
        target: request path without the query.
        timeout_s: for the answer's head, and for every read unless ``patient``.
        patient: reads of the body wait for ever.
    """

    def __init__(
        self,
        path: str,
        method: str,
        target: str,
        query: dict[str, str],
        *,
        timeout_s: float,
        patient: bool,
    ) -> None:
        reach(path)
        connection = _UnixConnection(path, timeout_s)
        try:
            connection.request(method, f"{target}?{urlencode(query)}", headers={"Host": "docker"})
            self._socket: socket.socket = connection.sock
            self._response = connection.getresponse()
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            raise BackendUnavailable(no_answer(path, error)) from error
        if self._response.status >= http.client.BAD_REQUEST:
            raise refusal(self._response.status, self._message())
        if patient:
            self._socket.settimeout(None)

    def read(self, count: int | None = None) -> bytes:
        """Read exactly ``count`` bytes, or to the end; fewer only at the end.

        Raises:
            BackendUnavailable: the connection broke.
        """
        try:
            return self._response.read(count)
        except (OSError, ValueError, http.client.HTTPException) as error:
            self.dispose()
            raise BackendUnavailable(f"the engine broke off an answer: {error}") from error

    def close(self) -> None:
        """End reads in any thread; harmless twice."""
        try:
            # The response keeps the descriptor open, so closing alone would not wake its reader.
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def dispose(self) -> None:
        """Give back the descriptor; for the reading thread only."""
        self._response.close()
        self._socket.close()

    def _message(self) -> str:
        body = self.read()
        self.dispose()
        try:
            return str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            return body.decode("utf-8", "replace").strip()


class FrameStream:
    """The engine's multiplexed output, frame by frame.

    Args:
        exchange: its answer.
        stamped: every frame begins with the time at which the engine took it.
    """

    def __init__(self, exchange: Exchange, *, stamped: bool = False) -> None:
        self._exchange = exchange
        self._stamped = stamped

    def __iter__(self) -> Iterator[Frame]:
        try:
            while head := self._exchange.read(_FRAME_HEAD.size):
                if len(head) < _FRAME_HEAD.size:
                    return
                stream, length = _FRAME_HEAD.unpack(head)
                payload = self._exchange.read(length)
                if payload:
                    yield (
                        _without_stamp(stream, payload) if self._stamped else Frame(stream, payload)
                    )
                if len(payload) < length:
                    return
        finally:
            self._exchange.dispose()

    def close(self) -> None:
        """End the iteration soon, from any thread."""
        self._exchange.close()


def _without_stamp(stream: int, payload: bytes) -> Frame:
    """Return a frame whose time stands before its text (RFC 3339, nanoseconds, UTC)."""
    stamp, text = payload[:_STAMP_BYTES], payload[_STAMP_BYTES:]
    try:
        seconds = calendar.timegm(time.strptime(stamp[:19].decode("ascii"), "%Y-%m-%dT%H:%M:%S"))
        at = seconds + float(stamp[19:29])
    except ValueError:  # an engine that writes them otherwise: better a stamp too much than no text
        return Frame(stream, payload)
    return Frame(stream, text, at)


def container_target(container: str, verb: str) -> str:
    """Return the request path of one verb on one container."""
    return f"/containers/{quote(container, safe='')}/{verb}"
