"""What happened to a model, from the audit log: nothing is kept twice, nothing can be edited."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from trainbox_plugins.custom_training import wire
from trainbox_plugins.custom_training.answers import (
    ActivityOut,
    AuditOut,
    AuditPageOut,
    EventOut,
)
from trainbox_plugins.custom_training.credentials import SYSTEM
from trainbox_plugins.custom_training.library import note_of
from trainbox_plugins.custom_training.names import stamp
from trainbox_sdk.calls.tokens import AuditEntry, AuditFilter
from trainbox_sdk.engine import Engine

PAGE = 500
DEFAULT_SPAN = timedelta(days=90)


class History:
    """Lines of the audit log about one model.

    The caller has been found to own the model; its id is in no other's lines.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def audit(self, model_id: str, asked: wire.AuditQuery) -> AuditPageOut:
        """Return one page of the model's lines."""
        since = asked.since or datetime.now(UTC) - DEFAULT_SPAN
        which = AuditFilter(
            who=asked.actor_id,
            act=asked.action,
            object=model_id,
            since=since,
            until=asked.until,
            limit=PAGE,
        )
        found = [entry async for entry in self._lines(which)]
        if asked.sort_order == "asc":
            found.reverse()
        start = (asked.page - 1) * asked.page_size
        return {
            "model_id": model_id,
            "total": len(found),
            "page": asked.page,
            "page_size": asked.page_size,
            "entries": [_entry(each) for each in found[start : start + asked.page_size]],
        }

    async def activity(self, model_id: str, asked: wire.ActivityQuery) -> ActivityOut:
        """Return what happened, newest first."""
        which = AuditFilter(object=model_id, act=asked.event_type, limit=PAGE)
        found = [entry async for entry in self._lines(which)]
        shown = itertools.islice(found, asked.offset, asked.offset + asked.limit)
        return {
            "model_id": model_id,
            "total": len(found),
            "limit": asked.limit,
            "offset": asked.offset,
            "events": [_event(each) for each in shown],
        }

    async def _lines(self, which: AuditFilter) -> AsyncIterator[AuditEntry]:
        while True:
            page = await self._engine.audit(SYSTEM, which)
            for entry in page.items:
                yield entry
            if page.next is None:
                return
            which = replace(which, after=page.next)


def _entry(entry: AuditEntry) -> AuditOut:
    return {
        "id": entry.seq,
        "action": entry.act,
        "actor_id": entry.who,
        "actor_ip": entry.peer,
        "model_id": entry.object,
        "details": note_of(entry.note),
        "request_id": entry.request_id,
        "timestamp": stamp(entry.at) or "",
        "hash": entry.hash,
    }


def _event(entry: AuditEntry) -> EventOut:
    return {
        "event_id": entry.seq,
        "event_type": entry.act,
        "actor_id": entry.who,
        "details": note_of(entry.note),
        "timestamp": stamp(entry.at) or "",
    }
