"""Listings of jobs: every filter and order, page by page, along an index, while jobs arrive."""

from __future__ import annotations

import dataclasses
import itertools
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from trainbox.ids import new_id
from trainbox.store import listing
from trainbox.store.records import NewJob
from trainbox.store.times import micros, moment
from trainbox_sdk.calls.jobs import JobFilter, JobSort
from trainbox_sdk.errors import ValidationFailed
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.tasks import StepPlan

STEP = StepPlan("train", "a:b", ("a",), "e")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
FIELDS = ("owner", "name", "task", "dataset_id", "priority", "labels", "backend", "state",
          "created_at", "started_at", "finished_at")  # fmt: skip
FILL_SQL = """
INSERT INTO jobs (seq, id, owner, name, task, params, spec_resources, resources, priority, labels,
                  backend, state, reason_code, reason, progress, metrics, request_digest,
                  created_at, started_at, finished_at, duration_us, identity, dataset_id,
                  exclusive_key, at_end)
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :rows)
SELECT i, 'job_' || i,
       CASE WHEN i % 5000 = 7 THEN 'rare' ELSE 'ann' END,
       CASE WHEN i % 5000 = 9 THEN 'a rare name' ELSE 'churn ' || (i % 50) END,
       CASE WHEN i % 5000 = 11 THEN 'rare' ELSE 'regression' END,
       '{}', '{}', '{}', i % 7, '{}',
       CASE WHEN i % 5000 = 13 THEN 'rare' ELSE 'docker' END,
       CASE WHEN i % 5000 = 15 THEN 'failed' ELSE 'succeeded' END,
       '', '', 1, '{}', '', 1000000 * i, 1000000 * i, 1000000 * i + i % 977, i % 977, '', NULL,
       '', '{}'
  FROM n
"""


async def insert(store, owner="ann", **spec):
    new = NewJob(
        new_id("job"), owner, JobSpec(**{"task": "t", **spec}), Resources(), "docker", (STEP,)
    )
    return (await store.jobs.insert(new, audit="t")).job


async def pages(store, which, owner=None, limit=17, between=None):
    found, after = [], None
    while True:
        page = await store.jobs.list(dataclasses.replace(which, limit=limit, after=after), owner)
        assert len(page.items) == limit or page.next is None
        found += page.items
        after = page.next
        if after is None:
            return found
        if between:
            await between()


def key(sort):
    return {
        JobSort.CREATED: lambda at, job: at,
        JobSort.FINISHED: lambda at, job: (job.finished_at, at),
        JobSort.PRIORITY: lambda at, job: (job.priority, at),
        JobSort.DURATION: lambda at, job: (job.duration_s, at),
    }[sort]


def wanted(jobs, which, owner):
    """The listing by brute force: filter, then sort."""
    shown = [
        (at, job)
        for at, job in enumerate(jobs)
        if (owner is None or job.owner == owner)
        and (not which.states or job.state in which.states)
        and which.task in (None, job.task)
        and which.name in (None, job.name)
        and which.backend in (None, job.backend)
        and which.dataset_id in (None, job.dataset_id)
        and (which.text or "").lower() in job.name.lower()
        and all(k in job.labels and v in (None, job.labels[k]) for k, v in which.labels)
        and (which.created_after is None or job.created_at >= which.created_after)
        and (which.created_before is None or job.created_at < which.created_before)
        and (which.sort is not JobSort.FINISHED or job.finished_at)
        and (which.sort is not JobSort.DURATION or job.duration_s is not None)
    ]
    shown.sort(key=lambda pair: key(which.sort)(*pair), reverse=which.descending)
    return [job.id for _, job in shown]


@pytest.fixture
async def many(store, tmp_path):
    """Jobs of every kind; times are written by hand so that ends and durations are many."""
    rng = random.Random(3)
    for n in range(60):
        labels = {"team": rng.choice(["crm", "ads"])} if n % 3 else {}
        labels |= {"run": str(n % 4)} if n % 2 else {}
        await insert(
            store,
            owner=rng.choice(["ann", "bob"]),
            task=rng.choice(["t", "u"]),
            name=rng.choice(["Churn_v1", "churn%2", "spend", ""]),
            priority=rng.randint(-2, 2),
            labels=labels,
        )
    with closing(sqlite3.connect(tmp_path / "state" / "trainbox.db")) as connection:
        connection.execute("DROP TRIGGER steps_move_by_the_table")
        for seq in range(1, 61):
            state = rng.choice(["queued", "running", "succeeded", "failed", "cancelled"])
            created = micros(BEGAN) + seq * 10**6 - (30 * 10**6 if seq == 40 else 0)  # a clock jump
            took = rng.randint(0, 5) * 10**6
            ended = state in {"succeeded", "failed"}
            values = (state, created, created if ended else None,
                      created + took if ended or state == "cancelled" else None,
                      took if ended else None, rng.choice(["docker", "process"]), seq)  # fmt: skip
            connection.execute(
                "UPDATE jobs SET state = ?, created_at = ?, started_at = ?, finished_at = ?,"
                " duration_us = ?, backend = ? WHERE seq = ?",
                values,
            )
        connection.commit()
    ids = [f"{job.id}" for job in reversed(await pages(store, JobFilter(), limit=100))]
    return [await store.jobs.get(job_id) for job_id in ids]


def some_filters():
    rng = random.Random(5)
    choices = {
        "states": [frozenset(), frozenset({State.FAILED}), frozenset({State.QUEUED, State.SUCCEEDED})],
        "task": [None, "t", "none"],
        "name": [None, "spend"],
        "text": [None, "CHURN", "%", "_", "2"],
        "backend": [None, "docker"],
        "labels": [frozenset(), frozenset({("team", "crm")}), frozenset({("run", None)}),
                   frozenset({("team", None), ("team", "crm"), ("run", "1")})],
        "created_after": [None, BEGAN + timedelta(seconds=20), BEGAN + timedelta(days=1)],
        "created_before": [None, BEGAN + timedelta(seconds=35)],
    }  # fmt: skip
    each = [{name: value} for name, values in choices.items() for value in values]
    mixed = [{name: rng.choice(values) for name, values in choices.items()} for _ in range(12)]
    return [{}, *each, *mixed]


@pytest.mark.parametrize("descending", [True, False], ids=["desc", "asc"])
@pytest.mark.parametrize("sort", list(JobSort))
async def test_pages_are_what_brute_force_says(store, many, sort, descending):
    full = 0
    for given, owner in itertools.product(some_filters(), (None, "ann")):
        which = JobFilter(sort=sort, descending=descending, **given)
        found = [job.id for job in await pages(store, which, owner)]
        assert found == wanted(many, which, owner), (given, owner)
        full += bool(found)
    assert full > 20


@pytest.mark.parametrize("sort", [JobSort.CREATED, JobSort.PRIORITY])
@pytest.mark.parametrize("descending", [True, False], ids=["desc", "asc"])
async def test_no_job_is_doubled_or_left_out_while_others_arrive(store, many, sort, descending):
    which = JobFilter(sort=sort, descending=descending)
    rng = random.Random(1)

    async def arrive():
        if await store.events.last_seq() < 200:
            await insert(store, priority=rng.randint(-2, 2))

    found = [job.id for job in await pages(store, which, between=arrive)]
    assert len(found) == len(set(found))
    old = [job_id for job_id in found if job_id in {job.id for job in many}]
    assert old == wanted(many, which, None)


async def test_a_cursor_of_another_query_is_refused(store, many):
    first = await store.jobs.list(JobFilter(limit=3), None)
    others = [
        (JobFilter(states=frozenset({State.FAILED})), None),
        (JobFilter(sort=JobSort.PRIORITY), None),
        (JobFilter(descending=False), None),
        (JobFilter(text="churn"), None),
        (JobFilter(labels=frozenset({("team", None)})), None),
        (JobFilter(created_after=BEGAN), None),
        (JobFilter(), "ann"),
    ]
    for which, owner in others:
        with pytest.raises(ValidationFailed) as refused:
            await store.jobs.list(dataclasses.replace(which, after=first.next), owner)
        assert refused.value.code == "bad_cursor"
    page = await store.jobs.list(
        JobFilter(limit=50, after=first.next), None
    )  # a larger page is fine
    assert len(page.items) == 50


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """100,000 jobs, written past the store."""
    import asyncio

    from trainbox.store import Store

    state = tmp_path_factory.mktemp("large") / "state"

    async def make():
        await (await Store.open(state)).close()

    asyncio.run(make())
    with closing(sqlite3.connect(state / "trainbox.db", isolation_level=None)) as connection:
        connection.execute("BEGIN")
        connection.execute(FILL_SQL, {"rows": 100_000})
        connection.execute(
            "INSERT INTO job_labels SELECT 'team', CASE WHEN seq % 5000 = 3 THEN 'rare' ELSE 'crm' END,"
            " seq FROM jobs"
        )
        connection.execute("COMMIT")
        yield connection


RARE = {
    "nothing": {},
    "state": {"states": frozenset({State.FAILED})},
    "states": {"states": frozenset({State.FAILED, State.RUNNING})},
    "task": {"task": "rare"},
    "dataset": {"dataset_id": "ds_none"},
    "name": {"name": "a rare name"},
    "backend": {"backend": "rare"},
    "label": {"labels": frozenset({("team", "rare")})},
    "label key": {"labels": frozenset({("none", None)})},
    "created": {"created_after": moment(10**6 * 50_000), "created_before": moment(10**6 * 50_010)},
}
"""Each filter by itself, on jobs that are few and far between."""


def run(connection, walk):
    """Return plan and number of virtual machine steps, which unlike time are the same each run."""
    plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {walk.sql}", walk.parameters)]
    steps = itertools.count()
    connection.set_progress_handler(lambda: next(steps) and 0, 100)
    rows = connection.execute(walk.sql, walk.parameters).fetchall()
    connection.set_progress_handler(None, 0)
    return plan, 100 * next(steps), rows


@pytest.mark.parametrize("owner", [None, "ann", "rare"])
@pytest.mark.parametrize("sort", list(JobSort))
@pytest.mark.parametrize("name", [*RARE, "text"])
def test_every_filter_walks_an_index_and_sorts_nothing(large, name, sort, owner):
    which = JobFilter(sort=sort, **RARE.get(name, {"text": "rare"}))
    place = listing.Place(900, 50_000)
    for at in (None, place):
        plan, _, _ = run(large, listing.page_walk(which, owner, at, 51))
        assert not [s for s in plan if s.startswith("SCAN j") and "INDEX" not in s and at], plan
        # The parts of a union are a page each: sorting those is fine.
        if len(which.states) < 2 and (at is None or sort is JobSort.CREATED):
            assert not [step for step in plan if "TEMP B-TREE" in step], plan


@pytest.mark.parametrize("name", [name for name in RARE if name != "created"])
def test_a_rare_match_is_found_without_reading_the_others(large, name):
    """A page of 51 costs some thousands of steps; reading 100,000 rows would cost a million."""
    for place in (None, listing.Place(0, 90_000)):
        _, steps, _ = run(large, listing.page_walk(JobFilter(**RARE[name]), None, place, 51))
        assert steps < 10_000


def test_a_span_of_time_is_bounded_by_a_narrow_index(large):
    plan, _, rows = run(large, listing.page_walk(JobFilter(**RARE["created"]), None, None, 51))
    assert len(rows) == 10
    bounds = [step for step in plan if "USING COVERING INDEX jobs_by_created" in step]
    assert len(bounds) == 2, plan


PLACES = {
    JobSort.CREATED: 0,
    JobSort.FINISHED: 50_000 * 10**6,
    JobSort.PRIORITY: 3,
    JobSort.DURATION: 500,
}


@pytest.mark.parametrize("sort", list(JobSort))
@pytest.mark.parametrize("owner", [None, "rare"])
def test_any_order_begins_at_once(large, sort, owner):
    for descending, place in itertools.product(
        (True, False), (None, listing.Place(PLACES[sort], 50_000))
    ):
        which = JobFilter(sort=sort, descending=descending)
        _, steps, rows = run(large, listing.page_walk(which, owner, place, 51))
        assert steps < 10_000 and rows


def test_the_store_finds_identical_and_waiting_jobs_by_index(large):
    from trainbox.store.submitting import IDENTICAL_SQL, REUSABLE

    parameters = {"identity": "x", "owner": "y"}
    plan = [row[3] for row in large.execute(f"EXPLAIN QUERY PLAN {IDENTICAL_SQL}", parameters)]
    searches = [step for step in plan if "jobs_by_identity" in step]
    assert len(searches) == len(REUSABLE)
    assert all("state=?" in step for step in searches), plan
    assert not [step for step in plan if "TEMP B-TREE" in step], plan


def test_the_ten_thousandth_identical_job_costs_what_the_first_does(large):
    from trainbox.store.submitting import IDENTICAL_SQL

    large.execute("SAVEPOINT same")
    large.execute("UPDATE jobs SET identity = 'same', owner = 'ann' WHERE seq <= 10000")
    walk = SimpleNamespace(sql=IDENTICAL_SQL, parameters={"identity": "same", "owner": "ann"})
    _, steps, rows = run(large, walk)
    large.execute("ROLLBACK TO same")
    large.execute("RELEASE same")
    assert rows and steps < 1_000
