"""Between the surfaces and the engine's ``authenticate``: rates, vouched users, the audit's origin.

Every dialect authenticates with the engine, so this is the one place that knows both the request
and who it is from; no dialect has a line of it.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Any

from multidict import CIMultiDict

from trainbox.http.rates import Buckets, Reading, parse_rate
from trainbox.origin import ORIGIN
from trainbox_sdk.calls.tokens import TokenView
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import RateLimited, Unauthenticated
from trainbox_sdk.surfaces import Route

READS, CHANGES, UPLOADS, PREDICT = "reads", "changes", "uploads", "predict"
FAILURES = "auth_failures"


@dataclass
class Visit:
    """One request at the door.

    Attributes:
        caller: whose failures count together.
        work: class of the route, for the rate.
        reading: what the rate said, once the caller is known.
    """

    caller: str
    work: str
    reading: Reading | None = None


VISIT: ContextVar[Visit | None] = ContextVar("visit", default=None)


def work_of(route: Route | None, method: str) -> str:
    """Return the class of a route."""
    if route is not None and route.operation is not None and route.operation.scope == PREDICT:
        return PREDICT
    if method in {"GET", "HEAD", "OPTIONS"}:
        return READS
    return UPLOADS if route is not None and route.max_body_bytes is None else CHANGES


class Doorkeeper:
    """The engine as surfaces get it: all of it, with a guard before ``authenticate``.

    Args:
        engine: the engine.
        rates: by class of work and for ``auth_failures``, such as ``600/minute``; a class that is
            absent or empty has no limit.
        trusted: what users of the Unix socket are let in as without a token, by uid.

    Raises:
        ValueError: a rate that is none.
    """

    def __init__(
        self, engine: Engine, rates: Mapping[str, str], trusted: Mapping[int, Principal]
    ) -> None:
        self._engine = engine
        self._buckets = {
            work: Buckets(rate) for work, text in rates.items() if (rate := parse_rate(text))
        }
        self._policies = {
            work: f'"{work}";q={each.rate.amount};w={each.rate.period_s:.0f}'
            for work, each in self._buckets.items()
        }
        self._streams: dict[str, set[asyncio.Task[Any]]] = {}
        # Texts of this process alone, so that a dialect sees a token as from anyone else.
        self._vouchers = {uid: secrets.token_hex(32) for uid in trusted}
        self._vouched = {self._vouchers[uid]: who for uid, who in trusted.items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    async def authenticate(self, token: str) -> Principal:
        """Return who a token belongs to, if they have not come too often.

        Raises:
            Unauthenticated: as the engine says.
            RateLimited: too many requests of this class, or too many failures of this caller.
        """

        async def look() -> Principal:
            return self._vouched.get(token) or await self._engine.authenticate(token)

        return await self._let_in(look())

    async def admit(self, check: Callable[[], Principal]) -> Principal:
        """Return whom a surface's own credential belongs to, if they have not come too often.

        Raises:
            Unauthenticated: as the check says.
            RateLimited: as for :meth:`authenticate`.
        """
        return await self._let_in(self._engine.admit(check))

    async def _let_in(self, looking: Awaitable[Principal]) -> Principal:
        visit = VISIT.get()
        try:
            who = await looking
        except Unauthenticated:
            if visit is not None:
                self._note_failure(visit)
            raise
        ORIGIN.set(replace(ORIGIN.get(), token_id=who.token_id))
        if visit is not None:
            self._take(visit, who)
        return who

    async def revoke_token(self, who: Principal, token_id: str) -> TokenView:
        """End a token, and the streams that were opened with it."""
        view = await self._engine.revoke_token(who, token_id)
        for task in self._streams.get(token_id, ()):
            task.cancel()
        return view

    def watch(self, task: asyncio.Task[Any]) -> None:
        """Remember that this task streams for the token of its request."""
        token_id = ORIGIN.get().token_id
        tasks = self._streams.setdefault(token_id, set())
        tasks.add(task)

        def forget(done: asyncio.Task[Any]) -> None:
            tasks.discard(done)
            if not tasks:
                self._streams.pop(token_id, None)

        task.add_done_callback(forget)

    def voucher(self, uid: int | None) -> str:
        """Return the text that stands for a user's token; empty for one who needs their own."""
        return self._vouchers.get(uid, "") if uid is not None else ""

    def tell(self, visit: Visit, headers: CIMultiDict[str]) -> None:
        """Add the rate to an answer (draft-ietf-httpapi-ratelimit-headers-10)."""
        reading, work = visit.reading, visit.work
        if reading is not None:
            until = math.ceil(reading.full_in_s)
            headers["RateLimit-Policy"] = self._policies[work]
            headers["RateLimit"] = f'"{work}";r={reading.remaining};t={until}'

    def _take(self, visit: Visit, who: Principal) -> None:
        buckets = self._buckets.get(visit.work)
        if buckets is None or visit.reading is not None:
            return
        visit.reading = buckets.take(_payer(who))
        if not visit.reading.allowed:
            rate = buckets.rate
            raise RateLimited(
                f"token {who.name!r} has used its {rate.amount} {visit.work} in"
                f" {rate.period_s:g} s",
                retry_after_s=math.ceil(visit.reading.retry_after_s),
                hint="wait as long as Retry-After says; an admin sets"
                f" TRAINBOX_RATE_LIMIT_{visit.work.upper()}",
            )

    def _note_failure(self, visit: Visit) -> None:
        """Count a wrong token. A good one is let in all the same: 256 bits are not guessed."""
        buckets = self._buckets.get(FAILURES)
        reading = buckets.take(visit.caller) if buckets is not None else None
        if reading is not None and not reading.allowed:
            raise RateLimited(
                f"too many requests with wrong tokens from {visit.caller}",
                retry_after_s=math.ceil(reading.retry_after_s),
                hint="check the token that is sent",
            )


def _payer(who: Principal) -> str:
    """Return whose bucket a request is taken from.

    A token made here is one caller; of tokens that others make a person may have any number.
    """
    return f"{who.id}\n{who.user}" if who.user else who.token_id or who.id
