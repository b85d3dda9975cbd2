"""Names, versions and replays, through real ingest workers."""

import asyncio
from dataclasses import replace

import pytest

from trainbox_sdk.errors import IdempotencyClash, ValidationFailed
from trainbox_sdk.profiles import profile_from_json

A, B = b"age,city\n31,Berlin\n", b"age,city\n32,Roma\n"


async def test_each_upload_of_other_bytes_is_the_next_version_of_the_name(house):
    made = [await house.put(data) for data in (A, B, A)]
    assert [each.dataset.version for each in made] == [1, 2, 3]
    assert not any(each.replayed for each in made)
    assert made[0].dataset.digest == made[2].dataset.digest
    assert len(house.files()) == 2
    assert (await house.store.datasets.find("ann", "people")).id == made[2].dataset.id
    assert (await house.store.datasets.find("ann", "people", 1)).id == made[0].dataset.id


async def test_what_the_newest_version_holds_already_is_that_version(house):
    first = await house.put(A)
    again = await house.put(A)
    assert again.replayed
    assert again.dataset == first.dataset
    await house.store.datasets.trash(first.dataset.id, who="ann")
    anew = await house.put(A)
    assert (anew.replayed, anew.dataset.version) == (False, 2)


async def test_two_owners_have_a_name_each_and_share_the_bytes(house):
    ann, bob = await house.put(A), await house.put(A, owner="bob")
    assert (ann.dataset.version, bob.dataset.version, bob.replayed) == (1, 1, False)
    assert ann.dataset.digest == bob.dataset.digest
    assert house.files() == {ann.dataset.digest}


async def test_equal_uploads_at_once_make_one_version(house):
    made = await asyncio.gather(*[house.put(A) for _ in range(4)])
    assert len({each.dataset.id for each in made}) == 1
    assert sorted(each.replayed for each in made) == [False, True, True, True]


async def test_a_key_makes_one_dataset_and_another_upload_under_it_leaves_nothing(house):
    first = await house.put(A, idempotency_key="k")
    await house.put(B)
    again = await house.put(A, idempotency_key="k")
    assert (again.replayed, again.dataset.id) == (True, first.dataset.id)
    before = house.files()
    with pytest.raises(IdempotencyClash) as clash:
        await house.put(b"age\n99\n", idempotency_key="k")
    assert first.dataset.id in clash.value.message
    assert house.files() == before
    assert len(await house.store.datasets.versions("ann", "people")) == 2
    assert (await house.put(b"age\n99\n", owner="bob", idempotency_key="k")).replayed is False


async def test_what_is_said_of_it_and_its_profile_are_kept(house):
    filed = await house.put(
        A, description="who", labels={"team": "crm"}, types={"age": "string"}, filename="p.csv"
    )
    data = filed.dataset
    assert (data.description, data.labels, data.column("age").type) == (
        "who",
        {"team": "crm"},
        "string",
    )
    profile = profile_from_json(await house.store.datasets.profile(data.id))
    assert [each.column for each in profile.columns] == list(data.columns)
    await house.store.datasets.describe(data.id, description=None, labels={}, who="ann")
    assert await house.store.datasets.get(data.id) == replace(data, labels={})


@pytest.mark.parametrize(
    ("spec", "where"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "people:2"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": "ds_" + "0" * 26}, "name"),
        ({"format": "xls"}, "format"),
        ({"description": "x" * 4097}, "description"),
        ({"labels": {"": "x"}}, "labels"),
        ({"labels": {f"l{n}": "" for n in range(33)}}, "labels"),
    ],
    ids=[
        "empty",
        "long",
        "newline",
        "version",
        "dots",
        "id",
        "format",
        "description",
        "label",
        "labels",
    ],
)
async def test_what_cannot_be_is_refused_before_a_byte_is_read(house, spec, where):
    async def unread():
        pytest.fail("the body was read")
        yield b""

    from trainbox_sdk.uploads import NewDataset

    with pytest.raises(ValidationFailed) as refused:
        await house.filer.file(
            "ann", NewDataset(**{"name": "n", "format": "csv", **spec}), unread()
        )
    assert refused.value.errors[0].loc[0] == where


@pytest.mark.parametrize("fault", ["data", "stream", "cancel"])
async def test_nothing_remains_of_an_upload_that_fails(house, fault):
    async def body():
        yield b"age,city\n31\n"
        if fault == "stream":
            raise ConnectionResetError
        if fault == "cancel":
            await asyncio.Event().wait()

    from trainbox_sdk.uploads import NewDataset

    task = asyncio.ensure_future(house.filer.file("ann", NewDataset("n", "csv"), body()))
    if fault == "cancel":
        while not house.leftovers():
            await asyncio.sleep(0.01)
        task.cancel()
    with pytest.raises((ValidationFailed, ConnectionResetError, asyncio.CancelledError)):
        await task
    assert house.files() == set()
    assert house.leftovers() == []
    assert (await house.store.datasets.list(owner=None)).items == ()
