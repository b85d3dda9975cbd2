"""A few daemon threads for blocking engine calls, each call with a deadline.

``concurrent.futures`` would join its threads when the interpreter exits, so one hung engine call
could hold up the daemon's end; these threads are daemons and are simply left behind.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass
class _Call:
    work: Callable[[], Any]
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]
    abandoned: threading.Event = field(default_factory=threading.Event)


class CallThreads:
    """At most ``count`` threads, started as they are needed.

    Args:
        count: most calls at once; more wait, and their deadline runs meanwhile.
        name: prefix of the threads' names.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._queue: SimpleQueue[_Call | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._unanswered = 0
        self._lock = threading.Lock()

    async def run(self, work: Callable[[], T], deadline_s: float) -> T:
        """Run ``work`` in a thread and return what it returns.

        A call that has not begun when its caller leaves is never made; one that has begun goes on
        in its thread, and its answer is dropped.

        Raises:
            TimeoutError: no answer within ``deadline_s`` seconds.
        """
        loop = asyncio.get_running_loop()
        call = _Call(work, loop, loop.create_future())
        self._ensure_thread()
        self._queue.put(call)
        try:
            async with asyncio.timeout(deadline_s):
                answer: T = await call.answer
                return answer
        finally:
            call.abandoned.set()

    def close(self) -> None:
        """Let idle threads end; a busy one ends after its call."""
        with self._lock:
            count, self._threads = len(self._threads), []
        for _ in range(count):
            self._queue.put(None)

    def _ensure_thread(self) -> None:
        """Count a call in, and start a thread if all there are may have one already."""
        with self._lock:
            self._unanswered += 1
            if len(self._threads) >= min(self._unanswered, self._count):
                return
            thread = threading.Thread(
                target=self._serve, name=f"{self._name}-{len(self._threads)}", daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _serve(self) -> None:
        while (call := self._queue.get()) is not None:
            if not call.abandoned.is_set():
                _perform(call)
            with self._lock:
                self._unanswered -= 1


def _perform(call: _Call) -> None:
    try:
        value, error = call.work(), None
    except Exception as raised:  # noqa: BLE001 - carried to the caller, whatever it is
        value, error = None, raised
    try:
        call.loop.call_soon_threadsafe(_settle, call.answer, value, error)
    except RuntimeError:
        return  # the loop is closed: nobody waits any more


def _settle(answer: asyncio.Future[Any], value: Any, error: Exception | None) -> None:
    if answer.done():
        return
    if error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(value)
