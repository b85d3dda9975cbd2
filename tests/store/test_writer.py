"""The one writer: nothing lost, one caller's error is its own, and a broken disk ends it."""

import asyncio
import sqlite3
import threading

import pytest

from trainbox.store import Store
from trainbox.store.connections import WRITER_PRAGMAS, open_writer
from trainbox.store.writer import Writer
from trainbox_sdk.errors import StorageFull, Unavailable

TASKS, ROUNDS = 16, 25
SET = "INSERT OR REPLACE INTO meta (key, value) VALUES (?, ?)"
GET = "SELECT value FROM meta WHERE key = ?"


def number(tx, key):
    row = tx.one(GET, (key,))
    return int(row["value"]) if row else 0


def add_one(tx):
    before = number(tx, "n")
    tx.execute(SET, ("n", str(before + 1)))
    return before + 1


async def test_400_concurrent_read_modify_writes_lose_nothing(store):
    async def task():
        return [await store._writer.write(add_one) for _ in range(ROUNDS)]

    seen = await asyncio.gather(*(task() for _ in range(TASKS)))
    assert sorted(sum(seen, [])) == list(range(1, TASKS * ROUNDS + 1))
    assert await store._writer.write(lambda tx: number(tx, "n")) == TASKS * ROUNDS


async def test_the_same_with_the_read_outside_the_write_loses_updates(store):
    """The control: without it the test above might pass by being blind."""

    async def task():
        for _ in range(ROUNDS):
            before = await store._writer.write(lambda tx: number(tx, "n"))
            await store._writer.write(lambda tx: tx.execute(SET, ("n", str(before + 1))) and None)

    await asyncio.gather(*(task() for _ in range(TASKS)))
    assert await store._writer.write(lambda tx: number(tx, "n")) < TASKS * ROUNDS


async def hold(writer: Writer):
    """Keep the writer busy; what is written until ``go`` is set forms one group."""
    entered, go = threading.Event(), threading.Event()

    def wait(tx):
        entered.set()
        assert go.wait(30)

    held = asyncio.ensure_future(writer.write(wait))
    await asyncio.to_thread(entered.wait)
    return held, go


async def test_what_waits_is_committed_together(store):
    statements = []
    held, go = await hold(store._writer)
    store._writer._connection.set_trace_callback(statements.append)
    writes = [asyncio.ensure_future(store._writer.write(add_one)) for _ in range(100)]
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(held, *writes)
    store._writer._connection.set_trace_callback(None)
    assert statements.count("BEGIN IMMEDIATE") == 1
    assert statements.count("SAVEPOINT caller") == 100


async def test_one_failing_write_does_not_fail_its_group(store):
    def fail_after_writing(tx):
        tx.execute(SET, ("spoilt", "yes"))
        raise RuntimeError("mine alone")

    def break_a_constraint(tx):
        tx.execute(SET, ("half", "yes"))
        tx.execute("INSERT INTO meta (key, value) VALUES ('half', NULL)")

    held, go = await hold(store._writer)
    works = [add_one, fail_after_writing, add_one, break_a_constraint, add_one]
    writes = [asyncio.ensure_future(store._writer.write(work)) for work in works]
    await asyncio.sleep(0)
    go.set()
    await held
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert results[0::2] == [1, 2, 3]
    assert isinstance(results[1], RuntimeError)
    assert isinstance(results[3], sqlite3.IntegrityError)
    left = await store._writer.write(lambda tx: [tx.one(GET, (k,)) for k in ("spoilt", "half")])
    assert left == [None, None]


async def test_an_accepted_write_is_carried_out_though_its_caller_is_cancelled(store):
    held, go = await hold(store._writer)
    cancelled = asyncio.ensure_future(store._writer.write(add_one))
    beside_it = asyncio.ensure_future(store._writer.write(add_one))
    await asyncio.sleep(0)
    cancelled.cancel()
    go.set()
    await held
    assert await asyncio.wait_for(beside_it, 30) == 2
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert await store._writer.write(lambda tx: number(tx, "n")) == 2


async def test_more_than_may_wait_is_refused_at_once(store, state_dir):
    writer = Writer(
        open_writer(state_dir / "trainbox.db"),
        state_dir / "trainbox.db-wal",
        committed=lambda events: None,
        broke=lambda reason: None,
        depth=2,
    )
    held, go = await hold(writer)
    waiting = [asyncio.ensure_future(writer.write(add_one)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="2 writes wait") as refused:
        await writer.write(add_one)
    assert refused.value.code == "store_busy" and refused.value.retryable
    go.set()
    await asyncio.gather(held, *waiting)
    assert await writer.stop()


async def test_events_are_heard_after_the_commit_in_order_before_the_caller(store, make):
    heard, order = [], []
    store.subscribe(lambda events: (heard.extend(events), order.append("heard")))

    async def insert():
        inserted = await store.jobs.insert(make.job(), audit="test")
        order.append("answered")
        return inserted

    await insert()
    assert order == ["heard", "answered"]
    await asyncio.gather(*(insert() for _ in range(50)))
    assert [event.seq for event in heard] == list(range(1, 52))
    assert heard == await store.events.after(0, job_id=None)


async def test_a_listener_that_fails_disturbs_nobody_and_one_that_left_hears_nothing(store, make):
    def broken(events):
        raise RuntimeError("deaf")

    heard = []
    store.subscribe(broken)
    leave = store.subscribe(heard.extend)
    await store.jobs.insert(make.job(), audit="test")
    leave()
    leave()
    await store.jobs.insert(make.job(), audit="test")
    assert len(heard) == 1


async def test_the_events_of_a_failed_write_are_never_heard(store, make):
    heard = []
    store.subscribe(heard.extend)
    inserted = await store.jobs.insert(make.job(), audit="test")

    def fail(tx):
        tx.event(inserted.job.id, "message", {"text": "never"})
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await store._writer.write(fail)
    assert [event.kind for event in heard] == ["state"]


async def test_settings_took(store, state_dir):
    def read(tx):
        return {name: tx.one(f"PRAGMA {name}")[0] for name in WRITER_PRAGMAS}

    assert await store._writer.write(read) == WRITER_PRAGMAS


def sqlite_error(code):
    error = sqlite3.OperationalError("as the disk would say")
    error.sqlite_errorcode, error.sqlite_errorname = code, "SQLITE_TEST"
    return error


async def test_after_an_io_error_nothing_is_promised_any_more(state_dir, make):
    store = await Store.open(state_dir)
    kept = await store.jobs.insert(make.job(), audit="test")
    held, go = await hold(store._writer)

    def io_error(tx):
        raise sqlite_error(sqlite3.SQLITE_IOERR | (4 << 8))  # SQLITE_IOERR_FSYNC

    works = [add_one, io_error, add_one]
    writes = [asyncio.ensure_future(store._writer.write(work)) for work in works]
    await asyncio.sleep(0)
    go.set()
    await held
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert [error.code for error in results] == ["store_broken"] * 3
    assert "as the disk would say" in await asyncio.wait_for(store.wait_broken(), 30)
    assert "as the disk would say" in store.broken
    with pytest.raises(Unavailable) as refused:
        await store.ping()
    assert refused.value.code == "store_broken"
    await store.close()
    assert not (state_dir / "clean-stop").exists()
    store._writer._connection.rollback()  # as the end of the process would
    reopened = await Store.open(state_dir)
    assert await reopened.jobs.get(kept.job.id) == kept.job
    assert await reopened._writer.write(lambda tx: number(tx, "n")) == 0
    await reopened.close()


async def test_a_full_disk_refuses_only_what_does_not_fit(store):
    held, go = await hold(store._writer)

    def too_big(tx):
        raise sqlite_error(sqlite3.SQLITE_FULL)

    works = [add_one, too_big, add_one]
    writes = [asyncio.ensure_future(store._writer.write(work)) for work in works]
    await asyncio.sleep(0)
    go.set()
    await held
    results = await asyncio.gather(*writes, return_exceptions=True)
    assert results[0::2] == [1, 2]
    assert isinstance(results[1], StorageFull)
    assert not store.broken
    await store.ping()


async def test_a_lock_held_by_a_stranger_is_a_refusal_not_an_end(store, sql):
    store._writer._connection.execute("PRAGMA busy_timeout = 1")
    sql.execute("BEGIN IMMEDIATE")
    with pytest.raises(Unavailable, match="locked") as refused:
        await store.ping()
    assert refused.value.code == "store_busy"
    sql.execute("ROLLBACK")
    await store.ping()


async def test_writes_after_close_are_refused_and_close_may_be_called_twice(state_dir):
    store = await Store.open(state_dir)
    await store.close()
    await store.close()
    with pytest.raises(Unavailable) as refused:
        await store.ping()
    assert refused.value.code == "stopping"


async def test_what_was_accepted_before_the_stop_is_written(state_dir, make):
    store = await Store.open(state_dir)
    new = [make.job() for _ in range(200)]
    inserts = [asyncio.ensure_future(store.jobs.insert(each, audit="test")) for each in new]
    await asyncio.sleep(0)
    await store.close()
    await asyncio.gather(*inserts)
    reopened = await Store.open(state_dir)
    assert [await reopened.jobs.get(each.id) is not None for each in new] == [True] * 200
    await reopened.close()


async def test_the_log_is_folded_back_and_does_not_grow_without_end(store, state_dir):
    def write(tx):
        tx.execute(SET, ("big", "x" * 100_000))

    for _ in range(600):
        await store._writer.write(write)
    # 600 writes of some 25 pages are 60 MB of log if nobody folds it back.
    assert (state_dir / "trainbox.db-wal").stat().st_size < 18 * 1024**2
