"""The words of ``/v1/admin``."""

from __future__ import annotations

from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on


class DrainOut(TypedDict):
    """Whether new work is taken; ``running`` at 0 says that the daemon is empty."""

    draining: bool
    running: int
    queued: int
