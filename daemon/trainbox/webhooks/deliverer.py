"""Empties the outbox: what is due is sent, and what fails is tried again; in no promised order.

Everything that must survive is in the rows: a daemon that is killed sends again what it had no
answer for, under the same ``webhook-id``.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

from trainbox.clock import now
from trainbox.recorder import NOBODY, Recorder
from trainbox.store import Store
from trainbox.store.webhook_rows import After, Due
from trainbox.webhooks import signing
from trainbox.webhooks.sender import Answer, Sender
from trainbox_sdk.errors import Unavailable
from trainbox_sdk.webhooks import Try

log = logging.getLogger(__name__)

GATHER_S = 0.05
"""Seconds from a fact to the look for it: a burst of facts pays one look."""
LOOK_S = 2.0
"""Longest rest between looks; most facts wake the loop at once."""
TIDY_S = 3600.0
"""Seconds between sweeps of the log."""
PER_WEBHOOK = 4
IN_ALL = 32
"""How many messages are under way together."""
LONGEST_RETRY_AFTER_S = 3600.0
FORGET_BATCH = 1000
"""Ended deliveries that go in one write."""
JITTER = 0.2
"""A delay is drawn from up to this part more, so that receivers that came back are not flooded."""


@dataclass(frozen=True)
class DelivererConfig:
    """How patient the deliverer is.

    Attributes:
        retry_s: seconds before each further try; after the last the delivery has failed.
        disable_after_s: seconds of failures alone after which a webhook is given up.
        keep_s: seconds for which ended deliveries are kept.
    """

    retry_s: Sequence[float]
    disable_after_s: float
    keep_s: float


class Deliverer:
    """The loop; one per daemon."""

    def __init__(
        self, store: Store, sender: Sender, config: DelivererConfig, recorder: Recorder = NOBODY
    ) -> None:
        self._recorder = recorder
        self._store = store.webhooks
        self._sender = sender
        self._config = config
        self._wake = asyncio.Event()
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._tidied_at = float("-inf")

    def wake(self) -> None:
        """Ask for a look now."""
        self._wake.set()

    async def run(self) -> None:
        """Look, send, wait; until cancelled, when what is under way is left to the next start."""
        try:
            while True:
                self._wake.clear()
                rest = await self._look_or_wait()
                try:
                    async with asyncio.timeout(rest):
                        await self._wake.wait()
                except TimeoutError:
                    continue
                await asyncio.sleep(GATHER_S)
        finally:
            for task in self._sending.values():
                task.cancel()
            await asyncio.gather(*self._sending.values(), return_exceptions=True)

    async def _look_or_wait(self) -> float:
        """Look; return for how many seconds there is nothing to do."""
        try:
            await self._tidy()
            await self._start_due()
            if len(self._sending) >= IN_ALL:
                return LOOK_S
            due_at = await self._store.next_due()
        except Unavailable as error:
            log.warning("deliveries wait", extra={"why": error.message})
            return LOOK_S
        if due_at is None:
            return LOOK_S
        in_s = (due_at - now()).total_seconds()
        # What is due and was not started waits for one under way, whose end wakes the loop.
        return min(in_s, LOOK_S) if in_s > 0 else LOOK_S

    async def _start_due(self) -> None:
        due = await self._store.due(now(), frozenset(self._sending), PER_WEBHOOK)
        for one in due[: IN_ALL - len(self._sending)]:
            task = asyncio.create_task(self._deliver(one), name=f"webhook {one.id}")
            self._sending[one.id] = task
            task.add_done_callback(lambda done, one=one: self._done(one, done))  # type: ignore[misc]

    def _done(self, one: Due, task: asyncio.Task[None]) -> None:
        self._sending.pop(one.id, None)
        self.wake()
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("delivery broke off", extra={"delivery": one.id}, exc_info=error)

    async def _deliver(self, one: Due) -> None:
        began_at, began = now(), time.monotonic()
        headers = {
            "content-type": "application/json",
            "user-agent": "trainbox-webhooks",
            **signing.headers(one.secrets, one.message_id, int(began_at.timestamp()), one.body),
        }
        answer = await self._sender.send(one.url, headers, one.body)
        took_s = time.monotonic() - began
        self._recorder.webhook_delivery(_result(answer), took_s)
        tried = Try(began_at, answer.status, answer.error, round(took_s, 4))
        try:
            await self._store.record(one, self._after(one, answer, tried))
        except Unavailable as error:
            # Sent and not noted: it will be sent again, which "at least once" allows.
            log.warning("delivery not noted", extra={"delivery": one.id, "why": error.message})
            await asyncio.sleep(LOOK_S)

    def _after(self, one: Due, answer: Answer, tried: Try) -> After:
        if not answer.error:
            return After(tried, delivered=True)
        gone = answer.status == HTTPStatus.GONE
        return After(
            tried,
            delivered=False,
            retry_at=None if gone else self._retry_at(one.attempts, answer.retry_after_s),
            disable="the receiver answered 410 Gone" if gone else "",
            disable_after=self._config.disable_after_s,
        )

    def _retry_at(self, attempts: int, asked_s: float) -> datetime | None:
        if attempts >= len(self._config.retry_s):
            return None
        planned = self._config.retry_s[attempts] * (1 + random.uniform(0, JITTER))  # noqa: S311
        return now() + timedelta(seconds=max(planned, min(asked_s, LONGEST_RETRY_AFTER_S)))

    async def _tidy(self) -> None:
        if time.monotonic() - self._tidied_at < TIDY_S:
            return
        self._tidied_at = time.monotonic()
        before = now() - timedelta(seconds=self._config.keep_s)
        while await self._store.forget(before, limit=FORGET_BATCH) >= FORGET_BATCH:
            await asyncio.sleep(0)


def _result(answer: Answer) -> str:
    if not answer.error:
        return "ok"
    return "failed" if answer.status is None else "refused"
