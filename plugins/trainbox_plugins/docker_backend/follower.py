"""One thread per running sandbox: its output into the log file, then its exit.

Output is attached before the start, since following the engine's own log loses the tail at the exit
(moby issue 43860). Where it goes may be said later: a sandbox that stands by has no job yet, and
prints nothing until it has one. The engine keeps a copy; when the attachment had a gap (a restart
of the daemon or of the engine), the log file is written anew from that copy.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

from trainbox_guest.shim.capped_log import CappedLog
from trainbox_guest.shim.log_rate import LogRate
from trainbox_guest.shim.log_times import SUFFIX
from trainbox_plugins.docker_backend.engine_port import (
    Clash,
    EnginePort,
    EngineRefused,
    LogStream,
    NotThere,
)
from trainbox_sdk.errors import BackendUnavailable

_GAP = b"\n[trainbox: output around here may be missing or repeated: nobody was listening]\n"
_PAUSES_S = (0.05, 0.1, 0.2, 0.5, 1.0)
_FIRST_LINES = 20
_LEAST_KEPT = 40
"""The engine's copy loses its beginning only beyond twice the log limit in JSON, which is at least
a fortieth of the limit in output, since even an empty line costs some 75 bytes of JSON."""


@dataclass(frozen=True)
class Ended:
    """How a sandbox ended, as far as its follower saw.

    Attributes:
        exit_code: None where the container had gone.
        interrupted: whether the engine went away while it ran.
    """

    exit_code: int | None
    interrupted: bool


class Closed(BackendUnavailable):
    """The daemon lets go of a sandbox that goes on."""


@dataclass(frozen=True)
class Sink:
    """Where a sandbox's output goes.

    Attributes:
        log: file to write.
        limit_bytes: largest size of the file.
        flood_bytes: output after which ``on_flood`` is called, once, from the follower's thread.
        rate: how fast output may come; None for any.
    """

    log: Path
    limit_bytes: int
    flood_bytes: int
    on_flood: Callable[[], None]
    rate: LogRate | None = None


class Follower:
    """Follows one container from before its start, or from wherever it is found.

    Args:
        container: name or id.
        reconnect_s: how long an engine may be away before the wait gives up.
    """

    def __init__(self, engine: EnginePort, container: str, *, reconnect_s: float) -> None:
        self._engine = engine
        self._container = container
        self._reconnect_s = reconnect_s
        self._closing = threading.Event()
        self._given: Future[Sink] = Future()
        self._stream: LogStream | None = None
        self._live: LogStream | None = None
        self._counting: threading.Thread | None = None
        self._cut = False
        self.attached: Future[None] = Future()
        """Done once the output is attached, so that a start loses nothing."""
        self.ended: Future[Ended] = Future()
        """Done once the container is dead and the log file is whole."""
        for future in (self._given, self.attached, self.ended):
            future.set_running_or_notify_cancel()  # one who stops waiting cancels it for nobody

    def write_to(self, sink: Sink) -> None:
        """Say where the output goes, once: before or after :meth:`begin`."""
        self._given.set_result(sink)

    def begin(self, *, fresh: bool) -> None:
        """Start the thread.

        Args:
            fresh: the container has not been started yet; otherwise it is taken up midway.
        """
        threading.Thread(
            target=self._run, args=(fresh,), name=f"follow-{self._container}", daemon=True
        ).start()

    def close(self) -> None:
        """Let go; the container goes on and the log file stays as it is."""
        self._closing.set()
        if not self._given.done():
            self._given.set_exception(Closed("it was closed while it stood by"))
        for stream in (self._stream, self._live):
            if stream is not None:
                stream.close()

    def _run(self, fresh: bool) -> None:
        try:
            unbroken = fresh and self._copy_from_the_start()
            self.ended.set_result(self._see_it_end(unbroken=unbroken))
        except OSError as error:  # a full disk is waited out: the engine keeps the output meanwhile
            self._fail(BackendUnavailable(f"the log cannot be written: {error}"))
        except Exception as error:  # noqa: BLE001 - carried to whoever waits, whatever it is
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        for future in (self.attached, self.ended):
            if not future.done():
                future.set_exception(error)

    def _copy_from_the_start(self) -> bool:
        """Copy the attached output; return whether it came to its end and nothing broke."""
        # Opened before the start where the file is known: a log that cannot be written is no start.
        output = self._new_log() if self._given.done() else None
        try:
            self._stream = self._engine.attach(self._container)
        except BaseException:
            if output is not None:
                output.abandon()
            raise
        self.attached.set_result(None)
        try:
            output = output or self._new_log()
        except BaseException:
            _hang_up(self._stream)
            raise
        try:
            self._copy(self._stream, output)
        except BackendUnavailable:
            return False
        finally:
            self._finish(output)
        self._cut = not output.whole
        return True

    def _see_it_end(self, *, unbroken: bool) -> Ended:
        """Wait for the exit and for a whole log, through restarts of the engine."""
        interrupted = False
        patience = _Patience(self._reconnect_s)
        while not self._closing.is_set():
            try:
                if not unbroken:
                    self._follow_kept()
                exit_code = self._engine.wait_exit(self._container)
                self._reconcile(unbroken=unbroken)
                return Ended(exit_code, interrupted)
            except (NotThere, Clash):  # removed by hand, or just being removed
                return Ended(None, interrupted)
            except EngineRefused as error:
                raise BackendUnavailable(f"the Docker Engine failed: {error}") from error
            except BackendUnavailable:
                unbroken, interrupted = False, True
                pause = patience.next_pause()
                if pause is None:
                    raise
            self._closing.wait(pause)
        raise Closed("the backend was closed; the sandbox goes on")

    def _follow_kept(self) -> None:
        """Write the log anew from the engine's copy, and go on with what comes.

        The new file takes the old one's place once it holds as much, so that a reader who stands
        somewhere in the log is not thrown back.
        """
        log = self._sink.log
        self._begin_counting()
        output = self._new_log(self._part)
        before = log.stat().st_size if log.exists() else 0
        looked = False
        try:
            self._stream = self._engine.kept_output(self._container, follow=True)
            for _ in self._copying(self._stream, output):
                if not looked and output.seen >= before:
                    looked = True
                    if not self._rotated(output.seen):
                        self._take_the_place()
        finally:
            self._finish(output)

    def _begin_counting(self) -> None:
        """Watch for a flood: the engine reads its own copy far slower than a sandbox writes it."""
        if self._counting is None or not self._counting.is_alive():
            name = f"count-{self._container}"
            self._counting = threading.Thread(target=self._count, name=name, daemon=True)
            self._counting.start()

    def _count(self) -> None:
        seen = 0
        with contextlib.suppress(BackendUnavailable, EngineRefused):  # gone, or away: no flood
            self._live = self._engine.attach(self._container)
            if self._closing.is_set():
                self._live.close()
            for frame in self._live:
                before, seen = seen, seen + len(frame.data)
                if before <= self._sink.flood_bytes < seen:
                    self._sink.on_flood()

    def _reconcile(self, *, unbroken: bool) -> None:
        """Make the log whole from the engine's copy, now that nothing more can come."""
        if self._closing.is_set():
            raise Closed("the backend was closed; the sandbox goes on")
        if unbroken and self._cut:
            return  # over the limit either way, and the engine's copy is cut elsewhere
        output = self._new_log(self._part)
        try:
            self._copy(self._engine.kept_output(self._container, follow=False), output)
        finally:
            output.close()
        if unbroken and not _lacks(self._sink.log.read_bytes(), self._part.read_bytes()):
            self._part.unlink()
            _times(self._part).unlink(missing_ok=True)
            return
        if not unbroken and self._rotated(output.seen):
            self._join_over_the_gap()
        self._take_the_place()

    def _take_the_place(self) -> None:
        """Put the log that was written anew where the old one is, and its notes as well."""
        log = self._sink.log
        _times(log).unlink(missing_ok=True)
        self._part.replace(log)
        with contextlib.suppress(FileNotFoundError):
            _times(self._part).replace(_times(log))

    def _rotated(self, seen: int) -> bool:
        """Whether the engine has thrown away the beginning, which the old file still has."""
        log = self._sink.log
        if seen < self._sink.limit_bytes // _LEAST_KEPT or not log.exists():
            return False
        kept = self._part.read_bytes()[: 16 * 1024]
        old = _as_kept(log.read_bytes())
        return bool(old) and not any(line in old for line in kept.splitlines()[:_FIRST_LINES])

    def _join_over_the_gap(self) -> None:
        room = (self._sink.limit_bytes - len(_GAP)) // 2
        old, new = self._sink.log.read_bytes()[:room], self._part.read_bytes()[-room:]
        self._part.write_bytes(old + _GAP + new)
        _times(self._part).unlink(missing_ok=True)  # they speak of other places now

    def _new_log(self, path: Path | None = None) -> CappedLog:
        return CappedLog(path or self._sink.log, self._sink.limit_bytes, self._sink.rate)

    def _copy(self, stream: LogStream, output: CappedLog) -> None:
        for _ in self._copying(stream, output):
            pass

    def _copying(self, stream: LogStream, output: CappedLog) -> Iterator[None]:
        for number, data, at in stream:
            before = output.seen
            output.append(data, number, at)
            if before <= self._sink.flood_bytes < output.seen:
                self._sink.on_flood()
            yield

    def _finish(self, output: CappedLog) -> None:
        if self._closing.is_set():
            output.abandon()  # more may come: the end is not to be written yet
        else:
            output.close()

    @property
    def _sink(self) -> Sink:
        """Where the output goes; blocks a follower of a sandbox that stands by."""
        return self._given.result()

    @property
    def _part(self) -> Path:
        log = self._sink.log
        return log.with_name(log.name + ".part")


class _Patience:
    """Pauses between attempts to reach an engine, for a limited time."""

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._since: float | None = None
        self._attempts = 0

    def next_pause(self) -> float | None:
        """Return how long to wait before the next attempt; None when patience is at its end."""
        now = time.monotonic()
        if self._since is None:
            self._since = now
        if now - self._since > self._limit_s:
            return None
        pause = _PAUSES_S[min(self._attempts, len(_PAUSES_S) - 1)]
        self._attempts += 1
        return pause


def _hang_up(stream: LogStream) -> None:
    """End a stream that nobody has read: its reader gives the descriptor back."""
    stream.close()
    with contextlib.suppress(BackendUnavailable):
        for _ in stream:
            break


def _times(log: Path) -> Path:
    return log.with_name(log.name + SUFFIX)


def _as_kept(output: bytes) -> bytes:
    """Return output as the engine keeps it, in JSON: bytes that are no UTF-8 are replaced."""
    return output.decode("utf-8", "replace").encode()


def _lacks(ours: bytes, kept: bytes) -> bool:
    """Whether the engine's copy has more lines, or a longer last one, than was attached.

    Replaced bytes make lengths incomparable; then only the lines are counted.
    """
    if kept.count(b"\n") != ours.count(b"\n") or b"\xef\xbf\xbd" in kept:
        return kept.count(b"\n") > ours.count(b"\n")
    return len(kept) > len(ours)
