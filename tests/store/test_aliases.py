"""Aliases: compare, move and write down are one act; a roll-back follows the history."""

import asyncio
import sqlite3

import pytest

from trainbox_sdk.errors import Conflict, NotFound, ValidationFailed
from trainbox_sdk.jobs import State as S
from trainbox_sdk.models import AliasMove, ModelFilter


@pytest.fixture
def versions(store, make):
    async def build(count, name="churn", owner="ann"):
        made = []
        for _ in range(count):
            begun = await make.start(store, make.job(owner=owner, name=name))
            step = await make.run_to(store, begun, S.COLLECTING)
            artifact = make.artifact()
            done = await store.jobs.succeed(
                step, S.COLLECTING, artifacts=[artifact], model=make.model(artifact, name)
            )
            made.append(done.model)
        return made

    return build


@pytest.fixture
def aliases(store):
    class Aliases:
        async def to(self, version, *, owner="ann", alias="champion", name="churn", **more):
            wish = AliasMove(name, alias, version, **more)
            return await store.aliases.move(owner, wish, who=owner)

        async def back(self, owner="ann", **more):
            wish = AliasMove("churn", "champion", act="rollback", **more)
            return await store.aliases.roll_back(owner, wish, who=owner)

        async def now(self, owner="ann"):
            return {one.alias: one.version for one in await store.aliases.list(owner, "churn")}

        async def moves(self, owner="ann"):
            page = await store.aliases.history(owner, "churn", "champion")
            return [(one.act, one.from_version, one.to_version) for one in reversed(page.items)]

    return Aliases()


async def test_each_roll_back_takes_back_one_earlier_move(aliases, versions):
    await versions(3)
    await aliases.to(1, act="promote", reason="first")
    await aliases.to(3, act="promote", reason="better")
    await aliases.to(2, reason="by hand")
    back = await aliases.back(reason="it was worse")
    assert (back.act, back.from_version, back.to_version, back.who, back.reason) == (
        "rollback",
        2,
        3,
        "ann",
        "it was worse",
    )
    await aliases.back()
    assert await aliases.now() == {"champion": 1}
    with pytest.raises(Conflict) as none:
        await aliases.back()
    assert none.value.code == "no_version_before"
    await aliases.to(2)
    await aliases.back()
    assert await aliases.now() == {"champion": 1}
    assert await aliases.moves() == [
        ("promote", None, 1),
        ("promote", 1, 3),
        ("set", 3, 2),
        ("rollback", 2, 3),
        ("rollback", 3, 1),
        ("set", 1, 2),
        ("rollback", 2, 1),
    ]


async def test_a_move_to_where_it_points_is_no_move(aliases, versions, store):
    await versions(1)
    assert (await aliases.to(1)).to_version == 1
    before = len(await store.audit.after(0))
    assert await aliases.to(1, reason="again") is None
    assert await aliases.moves() == [("set", None, 1)]
    assert len(await store.audit.after(0)) == before


async def test_compare_and_set(aliases, versions):
    await versions(2)
    with pytest.raises(Conflict, match="points nowhere, not at version 2"):
        await aliases.to(1, expected_version=2)
    await aliases.to(1, expected_version=0)
    with pytest.raises(Conflict, match="points at version 1, not at version 0") as moved:
        await aliases.to(2, expected_version=0)
    assert moved.value.code == "alias_moved"
    with pytest.raises(Conflict):
        await aliases.back(expected_version=2)
    with pytest.raises(Conflict):
        await aliases.to(None, expected_version=2)
    await aliases.to(2, expected_version=1)
    assert await aliases.moves() == [("set", None, 1), ("set", 1, 2)]


async def test_of_many_who_expect_the_same_one_wins(aliases, versions):
    await versions(9)
    await aliases.to(1)
    tries = [aliases.to(version, expected_version=1) for version in range(2, 10)]
    done = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(not isinstance(one, Exception) for one in done) == 1
    assert all(one.code == "alias_moved" for one in done if isinstance(one, Exception))
    assert len(await aliases.moves()) == 2


async def test_a_deleted_alias_keeps_its_history_and_begins_anew(aliases, versions):
    await versions(2)
    await aliases.to(1)
    await aliases.to(2)
    await aliases.to(None, reason="retired")
    assert await aliases.now() == {}
    with pytest.raises(NotFound):
        await aliases.to(None)
    with pytest.raises(NotFound):
        await aliases.back()
    await aliases.to(2)
    with pytest.raises(Conflict):
        await aliases.back()
    assert (await aliases.moves())[2:] == [("delete", 2, None), ("set", None, 2)]


async def test_names_are_their_owners(aliases, versions, store):
    [hers] = await versions(1, owner="ann")
    [his] = await versions(1, owner="bob")
    assert (hers.version, his.version) == (1, 1)
    await aliases.to(1, owner="bob")
    assert await aliases.now("ann") == {}
    assert (await store.models.find("churn", alias="champion", owner="bob")).id == his.id
    assert await store.models.find("churn", alias="champion", owner="ann") is None
    assert (await store.models.find("churn", 1, owner="ann")).id == hers.id
    with pytest.raises(NotFound):
        await aliases.to(2, owner="ann")
    assert (await store.aliases.history("ann", "churn", "champion")).items == ()


async def test_the_act_and_its_account_are_one(aliases, versions, store, sql):
    await versions(1)
    await aliases.to(1, act="promote", reason="it is good")
    last = (await store.audit.after(0))[-1]
    assert (last.who, last.act, last.object, last.note) == (
        "ann",
        "alias.promote",
        "churn@champion",
        "nothing -> 1: it is good",
    )
    for statement in (
        "UPDATE model_alias_changes SET reason = 'other'",
        "DELETE FROM model_alias_changes",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            sql.execute(statement)


async def test_the_history_comes_in_pages(aliases, versions, store):
    await versions(2)
    for turn in range(7):
        await aliases.to(1 + turn % 2)
    seen, after = [], None
    while True:
        page = await store.aliases.history("ann", "churn", "champion", limit=3, after=after)
        seen += [one.seq for one in page.items]
        after = page.next
        if after is None:
            break
    assert seen == sorted(seen, reverse=True) and len(seen) == 7
    with pytest.raises(ValidationFailed):
        await store.aliases.history("ann", "churn", "champion", after="nonsense")


async def test_the_trash_takes_no_version_that_an_alias_points_at(aliases, versions, store):
    one, two = await versions(2)
    await aliases.to(1)
    with pytest.raises(Conflict) as aliased:
        await store.models.trash(one.id, who="ann")
    assert aliased.value.code == "model_aliased"
    await aliases.to(2)
    thrown = await store.models.trash(one.id, who="ann")
    assert thrown.trashed_at is not None and thrown.purged_at is None
    assert await store.models.trash(one.id, who="ann") == thrown
    assert await store.models.find("churn", 1) is None
    assert [m.id for m in (await store.models.list()).items] == [two.id]
    assert [m.id for m in (await store.models.list(ModelFilter(trashed=True))).items] == [one.id]
    for move in (aliases.to(1), aliases.back()):
        with pytest.raises(Conflict) as trashed:
            await move
        assert trashed.value.code == "model_trashed"
    assert (await store.models.restore(one.id, who="ann")).trashed_at is None
    await aliases.back()
    assert await aliases.now() == {"champion": 1}


async def test_a_number_is_never_given_twice(versions, store):
    one, two = await versions(2)
    await store.models.trash(two.id, who="ann")
    assert (await store.models.find("churn")).id == one.id
    [three] = await versions(1)
    assert three.version == 3


async def test_a_purged_version_stays_as_a_tombstone(versions, store):
    one, two = await versions(2)
    await store.models.trash(one.id, who="ann")
    look = await store.trash.empty(older_than_s=0, dry_run=True, who="root")
    assert [(each.kind, each.id) for each in look.purged] == [("model", one.id)]
    assert (await store.models.get(one.id)).purged_at is None
    # Both have the digest of the test's one file: the other version still needs it.
    emptied = await store.trash.empty(older_than_s=0, dry_run=False, who="root")
    assert one.digest in emptied.in_use
    gone = await store.models.get(one.id)
    assert gone.purged_at is not None and (gone.name, gone.version) == ("churn", 1)
    with pytest.raises(Conflict) as purged:
        await store.models.restore(one.id, who="ann")
    assert purged.value.code == "model_purged"
    with pytest.raises(NotFound):
        await store.models.add_files(one.id, [])
    await store.models.trash(two.id, who="ann")
    emptied = await store.trash.empty(older_than_s=0, dry_run=False, who="root")
    assert one.digest not in emptied.in_use


@pytest.mark.parametrize("sort", ["-created_at", "created_at", "name", "-name"])
async def test_sorted_pages_are_whole(versions, store, sort):
    for name in ("b", "a", "c", "a", "b"):
        await versions(1, name)
    await versions(1, "z", owner="bob")
    seen, after = [], None
    while True:
        page = await store.models.list(ModelFilter(sort=sort, limit=2, after=after), owner="ann")
        seen += [(one.name, one.version) for one in page.items]
        after = page.next
        if after is None:
            break
    made = [("b", 1), ("a", 1), ("c", 1), ("a", 2), ("b", 2)]
    expected = {
        "created_at": made,
        "-created_at": made[::-1],
        "name": sorted(made),
        "-name": sorted(made, reverse=True),
    }
    assert seen == expected[sort]
    other = "name" if sort != "name" else "created_at"
    first = await store.models.list(ModelFilter(sort=sort, limit=1), owner="ann")
    with pytest.raises(ValidationFailed):
        await store.models.list(ModelFilter(sort=other, after=first.next), owner="ann")


async def test_a_listing_is_filtered(versions, store, aliases):
    one, two = await versions(2)
    [other] = await versions(1, "other")
    await aliases.to(1)

    async def ids(**which):
        return [m.id for m in (await store.models.list(ModelFilter(**which))).items]

    assert await ids(name="churn") == [two.id, one.id]
    assert await ids(alias="champion") == [one.id]
    assert await ids(task="regression") == [other.id, two.id, one.id]
    assert await ids(task="nope") == []
    assert await ids(name="churn", alias="nope") == []
