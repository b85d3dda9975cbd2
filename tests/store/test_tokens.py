"""Tokens: only a digest at rest, and every way to be wrong gets the same answer."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from trainbox.store import Store
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import NotFound


async def test_a_token_stands_for_its_owner_with_its_scopes(store):
    token_id, text = await store.tokens.create("ann", ["read", "submit"], who="root")
    assert await store.tokens.verify(text) == Principal("ann", "ann", frozenset({"read", "submit"}))
    assert text.startswith(f"tb_{token_id.removeprefix('tok_')}_")
    assert len(text.rsplit("_", 1)[1]) * 4 == 256


async def test_no_secret_is_at_rest(store, state_dir):
    _, text = await store.tokens.create("ann", ["read"], who="root")
    secret = text.rsplit("_", 1)[1].encode()
    await store.back_up()
    files = [path.read_bytes() for path in state_dir.rglob("*") if path.is_file()]
    assert not any(secret in data for data in files)
    assert any(hashlib.sha256(secret).hexdigest().encode() in data for data in files)


async def test_what_is_not_a_token_is_nobody(store):
    token_id, text = await store.tokens.create("ann", ["read"], who="root")
    number, secret = token_id.removeprefix("tok_"), text.rsplit("_", 1)[1]
    wrong = [
        "", "_", "__", "tb", "tb_", "tb__", f"tb_{number}", f"tb_{number}_", f"tb__{secret}",
        f"tx_{number}_{secret}", f"TB_{number}_{secret}", f"tb_{token_id}_{secret}",
        f"tb_{number}_{secret[:-1]}", f"tb_{number}_{secret}0", f"tb_{number}_{secret.upper()}",
        f" {text}", f"{text} ", f"{text}\x00", "tb_é_é", "tb_\ud800_\ud800", "x" * 100_000,
        hashlib.sha256(secret.encode()).hexdigest(), f"tb_{number}_" + "0" * 64,
    ]  # fmt: skip
    assert secret != secret.upper()
    assert [await store.tokens.verify(each) for each in wrong] == [None] * len(wrong)
    assert await store.tokens.verify(text) is not None


async def test_one_tokens_secret_does_not_open_another(store):
    _, one = await store.tokens.create("ann", ["read"], who="root")
    _, two = await store.tokens.create("bob", ["admin"], who="root")
    mixed = "_".join([*two.split("_")[:2], one.split("_")[2]])
    assert await store.tokens.verify(mixed) is None


async def test_revoked_is_at_once_and_for_ever(state_dir):
    store = await Store.open(state_dir)
    token_id, text = await store.tokens.create("ann", ["read"], who="root")
    _, other = await store.tokens.create("ann", ["read"], who="root")
    await store.tokens.revoke(token_id, who="bob")
    await store.tokens.revoke(token_id, who="bob")
    assert await store.tokens.verify(text) is None
    assert await store.tokens.verify(other) is not None
    assert await store.tokens.count() == 1
    acts = [row.act for row in await store.audit.after(0)]
    assert acts == ["token.create", "token.create", "token.revoke"]
    await store.close()
    store = await Store.open(state_dir)
    assert await store.tokens.verify(text) is None
    assert await store.tokens.verify(other) is not None
    assert (await store.tokens.list())[0].revoked_at is not None
    with pytest.raises(NotFound):
        await store.tokens.revoke("tok_none", who="bob")
    await store.close()


async def test_expiry(store):
    now = datetime.now(UTC)
    _, past = await store.tokens.create("a", [], who="root", expires_at=now - timedelta(seconds=1))
    _, later = await store.tokens.create("a", [], who="root", expires_at=now + timedelta(hours=1))
    assert await store.tokens.verify(past) is None
    assert await store.tokens.verify(later) is not None
    assert await store.tokens.count() == 1
    with pytest.raises(ValueError, match="without a zone"):
        await store.tokens.create("a", [], who="root", expires_at=datetime(2030, 1, 1))


async def test_the_last_use_is_noted_and_survives(state_dir):
    store = await Store.open(state_dir)
    _, text = await store.tokens.create("ann", ["read"], who="root")
    assert (await store.tokens.list())[0].last_used_at is None
    await asyncio.gather(*(store.tokens.verify(text) for _ in range(100)))
    await store.tokens.settle()
    used = (await store.tokens.list())[0].last_used_at
    await store.close()
    store = await Store.open(state_dir)
    assert (await store.tokens.list())[0].last_used_at == used is not None
    await store.close()
