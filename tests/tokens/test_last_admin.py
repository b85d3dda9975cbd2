"""Somebody can always make a token."""

from __future__ import annotations

import asyncio

from trainbox.engine.access import Access
from trainbox.engine.tokens import TokenRoom, first_token
from trainbox.store import Store
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


async def test_a_rotation_of_the_local_token_reaches_its_file(tmp_path):
    store = await Store.open(tmp_path / "state")
    file = tmp_path / "token"
    try:
        await first_token(store, file, None)
        before = file.read_text()
        who = await store.tokens.verify(before.strip())
        room = TokenRoom(store, Access(store, lambda *_: True), file)
        other = await room.create(
            who, name="other", scopes=["read"], subject=None, expires_in_s=None
        )
        await room.rotate(who, other.token.id, grace_s=0.0, expires_in_s=None)
        assert file.read_text() == before, "of another token: the file stays"
        issued = await room.rotate(who, who.token_id, grace_s=0.0, expires_in_s=None)
        assert file.read_text() == issued.secret + "\n" != before
        assert file.stat().st_mode & 0o777 == 0o600
        assert (await store.tokens.verify(file.read_text().strip())).token_id == who.token_id
    finally:
        await store.close()
