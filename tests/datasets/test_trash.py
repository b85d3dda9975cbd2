"""Throwing away, restoring, purging: what goes, what stays, and what a crash leaves."""

import asyncio
import os

import pytest

from trainbox import blobs as blobs_module
from trainbox_sdk.errors import Conflict


async def test_a_purge_frees_what_was_thrown_away_and_leaves_a_tombstone(house):
    filed = await house.put(labels={"team": "crm"}, description="who", idempotency_key="k")
    data = filed.dataset
    job = await house.job(data.id)
    await house.end_job(job)
    await house.store.datasets.trash(data.id, who="ann")
    looked = await house.purge(dry_run=True)
    assert house.files() == {data.digest}
    assert (await house.store.datasets.get(data.id)).purged_at is None
    done = await house.purge()
    assert (looked.freed_bytes, looked.files) == (done.freed_bytes, done.files)
    assert (done.freed_bytes, [each.what for each in done.files]) == (data.bytes, ["dataset"])
    assert [each.id for each in done.purged] == [data.id]
    assert house.files() == set()
    left = await house.store.datasets.get(data.id)
    assert left.purged_at is not None
    assert (left.name, left.version, left.digest) == (data.name, data.version, data.digest)
    assert [(c.name, c.sql_type) for c in left.columns] == [
        (c.name, c.sql_type) for c in data.columns
    ]
    assert all(c.min is c.max is None and c.examples == () for c in left.columns)
    assert (left.labels, left.description, left.warnings) == ({}, "", ())
    assert await house.store.datasets.profile(data.id) is None
    with pytest.raises(Conflict, match="purged"):
        await house.store.datasets.restore(data.id, who="ann")
    assert (await house.store.jobs.get(job)).dataset_id == data.id
    anew = await house.put()
    assert (anew.replayed, anew.dataset.version) == (False, 2)
    acts = [row.act for row in await house.store.audit.after(0)]
    assert {"dataset.trash", "dataset.purge", "trash.purge"} <= set(acts)


async def test_bytes_that_another_dataset_has_too_stay(house):
    first, second = await house.raw(b"same", "a"), await house.raw(b"same", "b")
    await house.store.datasets.trash(first, who="ann")
    assert (await house.purge()).freed_bytes == 0
    await house.store.datasets.trash(second, who="ann")
    assert (await house.purge()).freed_bytes == 4


async def test_a_live_job_keeps_its_dataset_out_of_the_trash_and_out_of_the_purge(house):
    data = await house.raw(b"rows")
    job = await house.job(data)
    with pytest.raises(Conflict, match=job):
        await house.store.datasets.trash(data, who="ann")
    await house.end_job(job)
    await house.store.datasets.trash(data, who="ann")
    late = await house.job(data)  # a submission that found it before it was thrown away
    report = await house.purge()
    assert report.purged == ()
    assert [(kept.id, late in kept.reason) for kept in report.kept] == [(data, True)]
    assert len(house.files()) == 1
    await house.end_job(late)
    assert (await house.purge()).freed_bytes == 4


async def test_restoring_brings_it_back_and_age_protects(house):
    data = await house.raw(b"rows")
    await house.store.datasets.trash(data, who="ann")
    assert await house.store.datasets.find("ann", "raw") is None
    assert (await house.purge(older_than_s=3600)).purged == ()
    await house.store.datasets.restore(data, who="ann")
    assert (await house.store.datasets.find("ann", "raw")).id == data
    assert (await house.purge()).purged == ()
    assert len(house.files()) == 1


async def test_an_orphan_goes_but_nothing_in_flight(house, open_house, root, digest_of):
    view = await house.publish(b"on its way")
    assert (await house.purge()).files == ()
    house.blobs.settle(view.digest)  # given up
    report = await house.purge()
    assert [(each.what, each.bytes) for each in report.files] == [("orphan", 10)]
    await house.publish(b"left by a crash")
    await house.uploads.close()
    await house.store.close()
    async with open_house(root) as after:
        assert after.files() == {digest_of(b"left by a crash")}
        assert (await after.purge()).freed_bytes == 15
        assert after.files() == set()


async def test_a_running_attempt_may_still_need_a_file_without_a_row(house, digest_of):
    job = await house.job(await house.raw(b"rows"))
    step = (await house.store.jobs.get(job)).steps[0]
    await house.store.jobs.begin_attempt(step.id, deadline_at=None)
    house.blobs.settle((await house.publish(b"an output")).digest)
    assert (await house.purge()).files == ()
    older = await house.publish(b"from before")
    house.blobs.settle(older.digest)
    os.utime(house.blobs.path(older.digest), (1, 1))
    assert [each.bytes for each in (await house.purge()).files] == [11]
    assert digest_of(b"an output") in house.files()


async def test_a_publisher_that_was_killed_does_not_protect_for_ever(house, monkeypatch):
    await house.publish(b"forgotten")
    monkeypatch.setattr(blobs_module, "IN_FLIGHT_S", 0.0)
    assert (await house.purge()).freed_bytes == 9


async def test_a_crash_between_rows_and_files_leaves_orphans_never_rows_without_bytes(
    house, monkeypatch
):
    data = await house.raw(b"rows")
    await house.store.datasets.trash(data, who="ann")

    async def killed(*_args, **_named):
        raise RuntimeError("kill -9")

    with monkeypatch.context() as patched:
        patched.setattr(house.blobs, "sweep", killed)
        with pytest.raises(RuntimeError):
            await house.purge()
    assert (await house.store.datasets.get(data)).purged_at is not None
    assert len(house.files()) == 1
    report = await house.purge()
    assert [(each.what, each.bytes) for each in report.files] == [("orphan", 4)]


async def test_uploads_of_the_same_bytes_during_purges_never_lose_them(house):
    """Every interleaving of publish, row, trash, purge and unlink that a busy loop finds."""
    stop = asyncio.Event()

    async def churn(name: str) -> None:
        for turn in range(40):
            made = await house.raw(b"the same for all %d" % (turn % 3), name)
            await asyncio.to_thread(house.blobs.path, (await house.store.datasets.get(made)).digest)
            if turn % 2:
                await house.store.datasets.trash(made, who="ann")

    async def purge() -> None:
        while not stop.is_set():
            await house.purge()

    purging = asyncio.ensure_future(purge())
    await asyncio.gather(*[churn(f"n{number}") for number in range(4)])
    stop.set()
    await purging
    live = await house.store.datasets.list(owner=None, limit=500)
    assert live.items
    for view in live.items:
        assert await house.blobs.verify(view.digest)
    await house.purge()
    assert house.files() == {view.digest for view in live.items}
