"""Tokens: only a digest at rest, and every way to be wrong gets the same answer."""

import asyncio
import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from trainbox.store import Store
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import Conflict, NotFound


async def test_a_token_stands_for_its_owner_with_its_scopes(store):
    token, text = await store.tokens.create("ann", ["read", "submit"], who="root")
    who = await store.tokens.verify(text)
    assert who == Principal("ann", "ann", frozenset({"read", "submit"}))
    assert who.token_id == token.id
    assert text.startswith(f"tb_{token.id.removeprefix('tok_')}_")
    assert len(text.rsplit("_", 1)[1]) * 4 == 256


async def test_no_secret_is_at_rest(store, state_dir):
    _, text = await store.tokens.create("ann", ["read"], who="root")
    secret = text.rsplit("_", 1)[1].encode()
    await store.back_up()
    files = [path.read_bytes() for path in state_dir.rglob("*") if path.is_file()]
    assert not any(secret in data for data in files)
    assert any(hashlib.sha256(secret).hexdigest().encode() in data for data in files)


async def test_what_is_not_a_token_is_nobody(store):
    token, text = await store.tokens.create("ann", ["read"], who="root")
    token_id = token.id
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
    token, text = await store.tokens.create("ann", ["read"], who="root")
    _, other = await store.tokens.create("laptop", ["read"], who="root", subject="ann")
    await store.tokens.revoke(token.id, who="bob")
    again = await store.tokens.revoke(token.id, who="bob")
    assert await store.tokens.verify(text) is None
    assert await store.tokens.verify(other) is not None
    assert [view.name for view in store.tokens.usable("read")] == ["laptop"]
    acts = [row.act for row in await store.audit.after(0)]
    assert acts == ["token.create", "token.create", "token.revoke"]
    await store.close()
    store = await Store.open(state_dir)
    assert await store.tokens.verify(text) is None
    assert await store.tokens.verify(other) is not None
    assert (await store.tokens.get(token.id)).revoked_at == again.revoked_at is not None
    with pytest.raises(NotFound):
        await store.tokens.revoke("tok_none", who="bob")
    await store.close()


async def test_expiry(store):
    now = datetime.now(UTC)
    _, past = await store.tokens.create("a", [], who="root", expires_at=now - timedelta(seconds=1))
    later = now + timedelta(hours=1)
    _, good = await store.tokens.create("b", ["read"], who="root", expires_at=later)
    assert await store.tokens.verify(past) is None
    assert await store.tokens.verify(good) is not None
    assert len(store.tokens.usable("read")) == 1
    with pytest.raises(ValueError, match="without a zone"):
        await store.tokens.create("c", [], who="root", expires_at=datetime(2030, 1, 1))


async def test_a_name_is_the_subjects_only_live_one(store):
    first, _ = await store.tokens.create("ci", ["read"], who="root", subject="ann")
    await store.tokens.create("ci", ["read"], who="root", subject="bob")
    with pytest.raises(Conflict, match="'ann' has a live token named 'ci'"):
        await store.tokens.create("ci", ["read"], who="root", subject="ann")
    await store.tokens.revoke(first.id, who="root")
    again, _ = await store.tokens.create("ci", ["read"], who="root", subject="ann")
    assert again.id != first.id


async def test_two_tokens_of_a_subject_are_one_owner(store):
    texts = [
        (await store.tokens.create(name, ["read"], who="root", subject="ann"))[1]
        for name in ("desk", "laptop")
    ]
    desk, laptop = [await store.tokens.verify(text) for text in texts]
    assert (desk.id, laptop.id) == ("ann", "ann")
    assert desk.token_id != laptop.token_id


@pytest.mark.parametrize("grace", [None, timedelta(hours=1), timedelta(seconds=-1)])
async def test_rotation_keeps_everything_but_the_secret(state_dir, grace):
    store = await Store.open(state_dir)
    token, old = await store.tokens.create("ci", ["read"], who="root", subject="ann")
    until = None if grace is None else datetime.now(UTC) + grace
    rotated, new = await store.tokens.rotate(token.id, who="bob", previous_until=until)
    assert (rotated.id, rotated.name, rotated.subject) == (token.id, "ci", "ann")
    lives = grace is not None and grace > timedelta(0)
    for _ in range(2):
        assert (await store.tokens.verify(old) is not None) == lives
        assert (await store.tokens.verify(new)).id == "ann"
        await store.close()
        store = await Store.open(state_dir)
    third = (await store.tokens.rotate(token.id, who="bob", previous_until=until))[1]
    assert await store.tokens.verify(old) is None, "only one secret before the newest"
    assert (await store.tokens.verify(new) is not None) == lives
    assert await store.tokens.verify(third) is not None
    await store.tokens.revoke(token.id, who="bob")
    assert [await store.tokens.verify(text) for text in (old, new, third)] == [None] * 3
    with pytest.raises(Conflict, match="has ended"):
        await store.tokens.rotate(token.id, who="bob")
    await store.close()


async def test_the_last_use_is_noted_and_survives(state_dir):
    store = await Store.open(state_dir)
    token, text = await store.tokens.create("ann", ["read"], who="root")
    assert token.last_used_at is None
    await asyncio.gather(*(store.tokens.verify(text) for _ in range(100)))
    used = (await store.tokens.get(token.id)).last_used_at
    await store.close()
    store = await Store.open(state_dir)
    assert (await store.tokens.get(token.id)).last_used_at == used is not None
    await store.close()


async def test_uses_of_many_tokens_are_one_write(store, monkeypatch):
    texts = [(await store.tokens.create(f"t{n}", ["read"], who="root"))[1] for n in range(20)]
    writes = []
    write = store.tokens._writer.write
    monkeypatch.setattr(store.tokens._writer, "write", lambda work: writes.append(1) or write(work))
    for _ in range(50):
        for text in texts:
            assert await store.tokens.verify(text)
    await store.tokens.settle()
    assert writes == [1]


async def test_a_credential_is_a_token_until_it_changes(store):
    first, second = "c" * 40, "tb_looks_like_one_" + "d" * 40
    await store.tokens.adopt_credential(first, ["admin"], subject="local")
    await store.tokens.adopt_credential(first, ["admin"], subject="local")
    assert (await store.tokens.verify(first)).id == "local"
    assert await store.tokens.verify(first[1:]) is None
    await store.tokens.adopt_credential(second, ["admin"], subject="local")
    assert await store.tokens.verify(first) is None
    token = (await store.tokens.verify(second)).token_id
    with pytest.raises(Conflict, match="credential"):
        await store.tokens.rotate(token, who="root")
    await store.tokens.adopt_credential("", ["admin"], subject="local")
    assert await store.tokens.verify(second) is None
