"""What rides with a job: the rule holds in the database, bytes are held, lines come with the end."""

import asyncio
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from trainbox.ids import new_id
from trainbox.store import Store
from trainbox.store.records import Outcome
from trainbox_sdk.assets import AssetView
from trainbox_sdk.calls.tokens import AuditFilter
from trainbox_sdk.documents import Act, Along, DocumentFilter, DocumentKey, DocumentWrite
from trainbox_sdk.errors import Conflict, ValidationFailed
from trainbox_sdk.jobs import State
from trainbox_sdk.tasks import PlanFile

S = State
DIGEST = "sha256:" + "a" * 64
KEY = DocumentKey("demo", "model", "m1")
ENDS = {
    str(state): Act(f"demo.{state}", "m1", "told")
    for state in (S.SUCCEEDED, S.FAILED, S.CANCELLED, S.INTERRUPTED)
}


def riding(make, **along):
    return replace(make.job(), along=Along(**along))


async def upload(store, digest=DIGEST, owner="ann"):
    moment = datetime(2030, 1, 1, tzinfo=UTC)
    view = AssetView(new_id("ast"), owner, "a.py", "script", "", "", digest, 3, moment)
    await store.assets.insert(view, (), who=owner)
    return view


def given(make, *assets):
    files = tuple(PlanFile(f"{n}.py", a.id, a.digest) for n, a in enumerate(assets))
    return make.job(replace(make.plan(), files=files))


async def told(store):
    page = await store.audit.list(AuditFilter(limit=100))
    return [(e.who, e.act, e.object, e.note) for e in reversed(page.items) if "demo." in e.act]


class TestTheRule:
    async def test_the_database_itself_refuses_two_live_jobs_with_a_key(self, store, sql, make):
        await store.jobs.insert(riding(make, exclusive="m1"), audit="t")
        await store.jobs.insert(riding(make, exclusive="m2"), audit="t")
        with pytest.raises(sqlite3.IntegrityError, match="jobs.owner, jobs.exclusive_key"):
            sql.execute("UPDATE jobs SET exclusive_key = 'm1'")
        sql.execute("UPDATE jobs SET state = 'failed' WHERE exclusive_key = 'm1'")
        sql.execute("UPDATE jobs SET exclusive_key = 'm1'")

    @pytest.mark.parametrize("live", [S.PREPARING, S.RUNNING, S.COLLECTING, S.VERIFYING])
    async def test_it_holds_until_the_end(self, store, make, live):
        step = await make.start(store, riding(make, exclusive="m1"))
        step = await make.run_to(store, step, live)
        with pytest.raises(Conflict, match=step.job_id):
            await store.jobs.insert(riding(make, exclusive="m1"), audit="t")
        await store.jobs.transition(step, live, S.FAILED)
        await store.jobs.insert(riding(make, exclusive="m1"), audit="t")

    async def test_it_is_looked_up_by_index(self, store, sql):
        from trainbox.store.accompaniment import EXCLUSIVE_SQL

        values = {"owner": "ann", "exclusive_key": "m1", "id": "x"}
        plan = sql.execute(f"EXPLAIN QUERY PLAN {EXCLUSIVE_SQL}", values).fetchall()
        assert "USING INDEX jobs_exclusive" in plan[0][3], plan

    async def test_it_outlives_the_daemon(self, state_dir, make):
        store = await Store.open(state_dir)
        first = (await store.jobs.insert(riding(make, exclusive="m1"), audit="t")).job
        await store.close()
        store = await Store.open(state_dir)
        with pytest.raises(Conflict, match=first.id):
            await store.jobs.insert(riding(make, exclusive="m1"), audit="t")
        await store.close()


class TestTheEnd:
    @pytest.mark.parametrize("end", [S.FAILED, S.CANCELLED, S.INTERRUPTED])
    async def test_a_bad_end(self, store, make, end):
        step = await make.run_to(
            store, await make.start(store, riding(make, at_end=ENDS)), S.RUNNING
        )
        assert await told(store) == []
        await store.jobs.transition(step, S.RUNNING, end, Outcome(reason_code="x"))
        assert await told(store) == [("daemon", f"demo.{end}", "m1", "told")]

    async def test_a_good_end(self, store, make):
        step = await make.start(store, riding(make, at_end=ENDS))
        step = await make.run_to(store, step, S.COLLECTING)
        await store.jobs.succeed(step, S.COLLECTING)
        assert await told(store) == [("daemon", "demo.succeeded", "m1", "told")]

    async def test_a_job_of_several_steps_ends_once(self, store, make):
        steps = (make.plan("a"), make.plan("b", after=("a",)), make.plan("c", after=("a",)))
        for end, acts in ((S.FAILED, 1), (S.CANCELLED, 2)):
            new = replace(make.job(*steps), along=Along(at_end=ENDS))
            step = await make.run_to(store, await make.start(store, new), S.RUNNING)
            await store.jobs.transition(step, S.RUNNING, end)
            assert len(await told(store)) == acts
        new = replace(make.job(*steps), along=Along(at_end=ENDS))
        job = (await store.jobs.insert(new, audit="t")).job
        await store.jobs.request_cancel(job.id, who="ann")
        assert [line[1] for line in await told(store)][2:] == ["demo.cancelled"]

    async def test_an_end_that_nothing_was_said_of_writes_nothing(self, store, make):
        ends = {"failed": ENDS["failed"]}
        step = await make.start(store, riding(make, at_end=ends))
        await store.jobs.transition(step, S.PREPARING, S.CANCELLED)
        assert await told(store) == []

    async def test_an_empty_object_is_the_job(self, store, make):
        step = await make.start(store, riding(make, at_end={"failed": Act("demo.x", "")}))
        await store.jobs.transition(step, S.PREPARING, S.FAILED)
        assert await told(store) == [("daemon", "demo.x", step.job_id, "")]

    async def test_a_state_that_is_no_end_is_a_mistake(self, store, make):
        for word in ("running", "completed"):
            with pytest.raises(ValueError, match=word):
                await store.jobs.insert(riding(make, at_end={word: ENDS["failed"]}), audit="t")

    async def test_it_is_there_after_a_restart_that_ends_the_job(self, state_dir, make):
        store = await Store.open(state_dir)
        step = await make.start(store, riding(make, at_end=ENDS, exclusive="m1"))
        await store.close()
        store = await Store.open(state_dir)
        fresh = await store.jobs.step(step.id)
        await store.jobs.transition(fresh, S.PREPARING, S.INTERRUPTED)
        assert await told(store) == [("daemon", "demo.interrupted", "m1", "told")]
        assert await store.audit.first_broken() is None
        await store.close()


class TestFiles:
    async def test_a_job_holds_its_bytes_until_it_is_deleted(self, store, make):
        asset = await upload(store)
        job = (await store.jobs.insert(given(make, asset), audit="t")).job
        assert await store.assets.delete(asset.id, (), who="ann") is None
        assert DIGEST in await store.trash.in_use()
        await store.jobs.request_cancel(job.id, who="ann")
        assert DIGEST in await store.trash.in_use()  # a retry reads them again
        deleted = await store.jobs.delete(job.id, who="ann")
        assert deleted.digests == (DIGEST,)
        assert DIGEST not in await store.trash.in_use()

    async def test_bytes_that_another_asset_or_job_has_are_kept(self, store, make):
        one, two = await upload(store), await upload(store, owner="bob")
        jobs = [(await store.jobs.insert(given(make, one), audit="t")).job for _ in range(2)]
        assert await store.assets.delete(one.id, (), who="ann") is None
        for job in jobs:
            await store.jobs.request_cancel(job.id, who="ann")
            assert (await store.jobs.delete(job.id, who="ann")).digests == ()
        assert await store.assets.delete(two.id, (), who="bob") == DIGEST

    async def test_an_asset_nobody_needs_gives_its_bytes_back_once(self, store):
        asset = await upload(store)
        assert await store.assets.delete(asset.id, (), who="ann") == DIGEST
        assert await store.assets.delete(asset.id, (), who="ann") is None
        page = await store.audit.list(AuditFilter(act="asset.delete"))
        assert len(page.items) == 1

    async def test_one_deleted_since_it_was_looked_up_stops_the_job(self, store, make):
        asset = await upload(store)
        new = given(make, asset)
        await store.assets.delete(asset.id, (), who="ann")
        with pytest.raises(ValidationFailed, match=asset.id):
            await store.jobs.insert(new, audit="t")
        assert await store.jobs.get(new.id) is None

    async def test_one_file_under_two_names_is_held_once(self, store, sql, make):
        asset = await upload(store)
        await store.jobs.insert(given(make, asset, asset), audit="t")
        assert sql.execute("SELECT digest FROM job_files").fetchall() == [(DIGEST,)]

    async def test_the_plan_remembers_the_digest(self, store, make):
        asset = await upload(store)
        job = (await store.jobs.insert(given(make, asset), audit="t")).job
        step = await store.jobs.step(job.steps[0].id)
        assert step.plan.files == (PlanFile("0.py", asset.id, DIGEST),)


class TestDocuments:
    async def test_of_many_writers_each_counts(self, store):
        async def count():
            while True:
                known = await store.documents.get(KEY)
                n, revision = (known.body["n"], known.revision) if known else (0, 0)
                write = DocumentWrite(KEY, "ann", {"n": n + 1}, expect=revision)
                try:
                    return await store.documents.write([write], (), who="ann")
                except Conflict:
                    continue

        await asyncio.gather(*(count() for _ in range(20)))
        last = await store.documents.get(KEY)
        assert (last.body, last.revision) == ({"n": 20}, 20)

    @pytest.mark.parametrize(
        ("which", "index"),
        [
            ({}, "documents_by_kind"),
            ({"owner": "ann"}, "documents_by_owner"),
            ({"group": "g"}, "documents_by_group"),
            ({"owner": "ann", "name": "x"}, "documents_names"),
        ],
        ids=["all", "owner", "group", "name"],
    )
    async def test_every_listing_walks_an_index(self, store, sql, which, index):
        from sqlalchemy.dialects import sqlite
        from sqlmodel import select

        from trainbox.store.documents import _conditions
        from trainbox.store.tables import DocumentRow

        statement = select(DocumentRow).where(
            DocumentRow.seq < 10**9, *_conditions(DocumentFilter("demo", "model", **which))
        )
        compiled = statement.order_by(DocumentRow.seq.desc()).compile(dialect=sqlite.dialect())
        values = [compiled.params[name] for name in compiled.positiontup]
        plan = sql.execute(f"EXPLAIN QUERY PLAN {compiled}", values).fetchall()
        assert index in plan[0][3], plan
        assert "owner" in which and "name" in which or len(plan) == 1, plan  # nothing is sorted


RACE = """
import asyncio, sys
from pathlib import Path
from trainbox.ids import new_id
from trainbox.store import Store
from trainbox.store.records import NewJob
from trainbox_sdk.documents import Act, Along, DocumentKey, DocumentWrite
from trainbox_sdk.errors import Conflict
from trainbox_sdk.jobs import JobSpec, Resources
from trainbox_sdk.tasks import StepPlan

PLAN = StepPlan("train", "demo:main", ("demo",), "tabular")
KEY = DocumentKey("demo", "model", "m1")

async def client(store, number):
    along = Along("m1", (Act("demo.started", "m1"),), (DocumentWrite(KEY, "ann", {"n": number}),))
    new = NewJob(new_id("job"), "ann", JobSpec("t"), Resources(), "docker", (PLAN,), along=along)
    try:
        inserted = await store.jobs.insert(new, audit="load")
    except Conflict:
        return
    print(inserted.job.id, number, flush=True)

async def main():
    store = await Store.open(Path(sys.argv[1]))
    await asyncio.gather(*(client(store, number) for number in range(50)))
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


async def test_one_of_fifty_wins_and_is_there_after_kill_9(state_dir, make):
    ran = subprocess.run([sys.executable, "-c", RACE, str(state_dir)], capture_output=True)
    assert ran.returncode == -9, ran.stderr
    ((won, number),) = [line.split() for line in ran.stdout.decode().splitlines()]
    store = await Store.open(state_dir)
    assert (await store.documents.get(KEY)).body == {"n": int(number)}
    assert await told(store) == [("ann", "demo.started", "m1", "")]
    assert [step.job_id for step in await store.jobs.live_steps()] == [won]
    with pytest.raises(Conflict, match=won):
        await store.jobs.insert(riding(make, exclusive="m1"), audit="t")
    await store.close()
