"""Watch a block of code for calls that leave the process."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WATCHED = ("open", "os.", "socket.", "subprocess.", "shutil.", "sqlite3.", "urllib.", "tempfile.")

_watch = threading.local()
_installed = threading.Lock()


@contextmanager
def outside_calls() -> Iterator[list[str]]:
    """Collect the audit events of this thread that open, start or connect something.

    The list holds one line per event, such as ``open('/etc/hosts', 'r', …)``. Source: the audit
    events table of the Python documentation.
    """
    # An audit hook can never be removed, so one is installed and looks at its thread's list.
    if _installed.acquire(blocking=False):
        sys.addaudithook(_heard)
    seen: list[str] = []
    _watch.calls = seen
    try:
        yield seen
    finally:
        _watch.calls = None


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    calls = getattr(_watch, "calls", None)
    if calls is not None and event.startswith(WATCHED):
        calls.append(f"{event}{arguments!r:.200}")
