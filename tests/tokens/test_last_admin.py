"""Somebody can always make a token."""

from __future__ import annotations

import asyncio

from trainbox.engine.access import Access
from trainbox.engine.tokens import TokenRoom
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import Conflict


async def test_two_admins_cannot_end_each_other(store):
    room = TokenRoom(store, Access(store, lambda *_: True))
    one, _ = await store.tokens.create("one", ["admin"], who="test")
    two, _ = await store.tokens.create("two", ["admin"], who="test")
    who = Principal("ann", "ann", frozenset({"admin"}))
    ends = await asyncio.gather(
        room.revoke(who, one.id),
        room.rotate(who, two.id, grace_s=0.0, expires_in_s=1.0),
        room.revoke(who, two.id),
        return_exceptions=True,
    )
    assert [type(end) for end in ends[1:]] == [Conflict, Conflict]
    assert [view.id for view in store.tokens.usable("admin")] == [two.id]
