"""A daemon of one's own, as a child process on a free loopback port."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from trainbox.cli.exits import CliError, Exit

START_S = 120.0
STOP_S = 30.0
LOG_NAME = "quickstart-daemon.log"


@contextlib.contextmanager
def own_daemon(state_dir: Path) -> Iterator[dict[str, Any]]:
    """Start ``trainbox serve`` and stop it on leaving; yields what it announced.

    Args:
        state_dir: of the daemon; its log goes there too.

    Raises:
        CliError: it did not start; with its own words.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    log = state_dir / LOG_NAME
    argv = [sys.executable, "-m", "trainbox.cli.bound", str(os.getpid()), "--json", "serve"]
    argv += ["--host", "127.0.0.1", "--port", "0", "--state-dir", str(state_dir)]
    with told_to_end_is_interrupted():
        with log.open("ab") as stderr:
            before = stderr.tell()
            # A session of its own: Ctrl-C is for the one who started us, who then stops it in
            # order.
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
                start_new_session=True,
            )  # fmt: skip
        try:
            yield _announced(process, log, before)
        finally:
            with undisturbed():
                _stop(process)


@contextlib.contextmanager
def told_to_end_is_interrupted(*, first: Callable[[], None] | None = None) -> Iterator[None]:
    """Leave for SIGTERM and SIGHUP as for Ctrl-C: nobody else would stop the child.

    Args:
        first: called in the signal handler, before the interrupt.
    """

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if first is not None:
            first()
        raise KeyboardInterrupt

    with _handled((signal.SIGTERM, signal.SIGHUP), interrupt):
        yield


def end_children() -> None:
    """Send SIGTERM to the processes that this one started; who waits for one cleans up after it."""
    for listed in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):  # the thread or the child has ended since
            for pid in listed.read_text(encoding="ascii").split():
                os.kill(int(pid), signal.SIGTERM)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Clean up without being interrupted; what is done inside must end by itself."""
    with _handled((signal.SIGINT, signal.SIGTERM, signal.SIGHUP), signal.SIG_IGN):
        yield


@contextlib.contextmanager
def _handled(
    numbers: Sequence[signal.Signals],
    handler: Callable[[int, FrameType | None], None] | signal.Handlers,
) -> Iterator[None]:
    before = {one: signal.signal(one, handler) for one in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _announced(process: subprocess.Popen[bytes], log: Path, before: int) -> dict[str, Any]:
    lines: queue.Queue[bytes] = queue.Queue()
    assert process.stdout is not None
    threading.Thread(target=_first_line, args=(process.stdout, lines), daemon=True).start()
    try:
        line = lines.get(timeout=START_S)
    except queue.Empty:
        raise _not_started("it said nothing for two minutes", log) from None
    if not line:
        process.wait()
        raise _not_started(_last_words(log, before) or f"it left with {process.returncode}", log)
    announced: dict[str, Any] = json.loads(line)
    return announced


def _first_line(stdout: IO[bytes], lines: queue.Queue[bytes]) -> None:
    lines.put(stdout.readline())


def _last_words(log: Path, before: int) -> str:
    """Return the error document that the child printed last, as text.

    Args:
        log: of this start and those before it.
        before: bytes that were there already.
    """
    said = log.read_bytes()[before:].decode(errors="replace")
    for line in reversed(said.splitlines()):
        with contextlib.suppress(ValueError, TypeError):
            document = json.loads(line)
            if "error" in document:
                sentence = str(document["error"]).rstrip(".") + "."
                return f"{sentence} {document.get('next', '')}".strip()
    return ""


def _not_started(why: str, log: Path) -> CliError:
    return CliError(
        "The daemon did not start.",
        Exit.INTERNAL,
        where=[why],
        next_step=f"Its log is in {log}.",
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
