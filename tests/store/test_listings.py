"""Listings: newest first, page by page, each along an index; and the small stores' reads."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from trainbox.store import cursors, listing
from trainbox.store.views import (
    ACTIVE_STEPS_SQL,
    LIVE_STEPS_SQL,
    QUEUED_STEPS_SQL,
)
from trainbox_sdk.engine import JobFilter
from trainbox_sdk.errors import NotFound, ValidationFailed
from trainbox_sdk.jobs import State
from trainbox_sdk.models import AliasMove

S = State


async def pages(store, which, owner, limit):
    seen, after = [], None
    while True:
        page = await store.jobs.list(
            JobFilter(which.states, which.task, which.dataset_id, limit, after), owner
        )
        seen.append([job.id for job in page.items])
        after = page.next
        if after is None:
            return seen


@pytest.fixture
async def many(store, make):
    data = await store.datasets.insert(make.dataset(), audit="t")
    made = []
    for n in range(24):
        new = make.job(
            owner="ann" if n % 3 else "bob",
            task="regression" if n % 2 else "binclass",
            dataset_id=data.id if n % 4 else None,
        )
        step = await make.start(store, new)
        if n % 5 == 0:
            await store.jobs.transition(step, S.PREPARING, S.FAILED)
        elif n % 5 == 1:
            await store.jobs.transition(step, S.PREPARING, S.RUNNING)
        made.append(await store.jobs.get(new.id))
    return made[::-1]


FILTERS = [
    JobFilter(states=frozenset(states), task=task)
    for states, task in itertools.product(
        [(), (S.FAILED,), (S.FAILED, S.RUNNING, S.QUEUED), tuple(State)],
        [None, "regression", "none"],
    )
]


@pytest.mark.parametrize("limit", [1, 5, 24, 1000])
async def test_pages_hold_every_match_once_newest_first(store, many, limit):
    data = next(job.dataset_id for job in many if job.dataset_id)
    filters = [*FILTERS, JobFilter(dataset_id=data), JobFilter(dataset_id="ds_none")]
    for which, owner in itertools.product(filters, (None, "ann", "nobody")):
        wanted = [
            job.id
            for job in many
            if (owner is None or job.owner == owner)
            and (not which.states or job.state in which.states)
            and which.task in (None, job.task)
            and which.dataset_id in (None, job.dataset_id)
        ]
        seen = await pages(store, which, owner, limit)
        assert sum(seen, []) == wanted
        assert all(len(page) == min(limit, cursors.LARGEST_PAGE) for page in seen[:-1])


async def test_listed_jobs_are_whole(store, many):
    page = await store.jobs.list(JobFilter(), None)
    assert list(page.items) == many


async def test_a_page_goes_on_where_it_was_though_newer_jobs_arrive(store, many, make):
    first = await store.jobs.list(JobFilter(limit=10), None)
    await store.jobs.insert(make.job(), audit="t")
    second = await store.jobs.list(JobFilter(limit=10, after=first.next), None)
    assert [job.id for job in (*first.items, *second.items)] == [job.id for job in many[:20]]


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "????", "a" * 10_000, cursors.encode("models", 3), cursors.encode("jobs", 2**63),
     cursors.encode("jobs", -1), "am9iczrCsg"],
)  # fmt: skip
async def test_a_foreign_cursor_is_refused(store, cursor):
    with pytest.raises(ValidationFailed) as refused:
        await store.jobs.list(JobFilter(after=cursor), None)
    assert refused.value.code == "bad_cursor"


@pytest.mark.parametrize("limit", [0, -1])
async def test_an_empty_page_is_refused(store, limit):
    for listing in (
        store.jobs.list(JobFilter(limit=limit), None),
        store.datasets.list(owner=None, limit=limit),
        store.models.list(limit=limit),
    ):
        with pytest.raises(ValidationFailed):
            await listing


@pytest.mark.parametrize("owner", [None, "ann"])
@pytest.mark.parametrize("which", [JobFilter(), *FILTERS[4:8]])
async def test_no_listing_scans_or_sorts_the_table(store, sql, owner, which):
    walk = listing.page_walk(which, owner, listing.Place(10**9, 10**9), 51)
    steps = [row[3] for row in sql.execute(f"EXPLAIN QUERY PLAN {walk.sql}", walk.parameters)]
    assert not [step for step in steps if step.startswith("SCAN j") and "INDEX" not in step]
    # The parts of a union are cut to a page each, so sorting those few is fine.
    assert which.states or not [step for step in steps if "TEMP B-TREE" in step]


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (QUEUED_STEPS_SQL, "steps_waiting"),
        (LIVE_STEPS_SQL, "steps_live"),
        (ACTIVE_STEPS_SQL, "steps_active"),
    ],
)
async def test_the_engine_reads_along_an_index_and_never_past_what_ended(store, sql, query, index):
    values = {"limit": 10, "backend": None}
    steps = [row[3] for row in sql.execute(f"EXPLAIN QUERY PLAN {query}", values)]
    assert index in steps[0] and "INDEX" in steps[0], steps
    scans = [step for step in steps if step.startswith("SCAN") and "INDEX" not in step]
    assert not scans, steps
    assert not [step for step in steps if "ORDER BY" in step], steps


async def test_datasets(store, make):
    new = [make.dataset(), make.dataset("other"), make.dataset()]
    ann = [await store.datasets.insert(view, audit="upload") for view in new]
    assert ann == [*new[:2], replace(new[2], version=2)]
    bob = await store.datasets.insert(make.dataset(owner="bob"), audit="upload")
    assert [await store.datasets.get(view.id) for view in ann] == ann
    assert await store.datasets.get("ds_none") is None
    assert await store.datasets.find("ann", "people") == ann[2]
    assert await store.datasets.find("ann", "people", 1) == ann[0]
    assert await store.datasets.find("ann", "people", 3) is None
    assert await store.datasets.find("bob", "people") == bob
    first = await store.datasets.list(owner="ann", limit=2)
    second = await store.datasets.list(owner="ann", limit=2, after=first.next)
    assert [*first.items, *second.items] == ann[::-1] and second.next is None
    assert [row.note for row in await store.audit.after(0)] == ["upload"] * 4


async def versions(store, make, count, name="churn", owner="ann"):
    made = []
    for _ in range(count):
        step = await make.run_to(
            store, await make.start(store, make.job(owner=owner)), S.COLLECTING
        )
        artifact = make.artifact()
        done = await store.jobs.succeed(
            step, S.COLLECTING, artifacts=[artifact], model=make.model(artifact, name)
        )
        made.append(done.model)
    return made


async def test_models_and_aliases(store, make):
    one, two, three = await versions(store, make, 3)
    [other] = await versions(store, make, 1, "other", owner="bob")
    assert [m.version for m in (one, two, three, other)] == [1, 2, 3, 1]
    assert await store.models.find("churn") == three
    assert await store.models.find("churn", version=2) == two
    assert await store.models.find("churn", version=9) is None
    assert await store.models.find("churn", alias="champion") is None

    async def point(name, alias, version, owner="ann"):
        return await store.aliases.move(owner, AliasMove(name, alias, version), who=owner)

    await point("churn", "champion", 1)
    assert (await store.models.get(one.id)).aliases == ("champion",)
    await point("other", "champion", 1, "bob")
    await point("churn", "champion", 2)
    await point("churn", "best", 2)
    assert (await store.models.get(one.id)).aliases == ()
    assert (await store.models.find("churn", alias="champion")).aliases == ("best", "champion")
    assert (await store.models.find("other", alias="champion")).id == other.id
    assert [m.id for m in (await store.models.list()).items] == [other.id, three.id, two.id, one.id]
    mine = await store.models.list(owner="ann", limit=2)
    rest = await store.models.list(owner="ann", limit=2, after=mine.next)
    assert [m.version for m in (*mine.items, *rest.items)] == [3, 2, 1] and rest.next is None
    assert await store.models.owner(other.id) == "bob"
    with pytest.raises(NotFound):
        await point("churn", "champion", 7)
    last = (await store.audit.after(0))[-1]
    assert (last.act, last.object, last.note) == ("alias.set", "churn@best", "nothing -> 2")


async def test_events_by_job_and_by_place(store, make):
    a = await store.jobs.insert(make.job(), audit="t")
    b = await store.jobs.insert(make.job(), audit="t")
    await store.jobs.append_event(a.job.id, "warning", {"text": "cut"})
    assert await store.events.last_seq() == 3
    all_ = await store.events.after(0, job_id=None)
    assert [event.seq for event in all_] == [1, 2, 3]
    assert [e.seq for e in await store.events.after(0, job_id=a.job.id)] == [1, 3]
    assert [e.seq for e in await store.events.after(1, job_id=a.job.id)] == [3]
    assert [e.seq for e in await store.events.after(0, job_id=None, limit=2)] == [1, 2]
    assert [e.job_id for e in await store.events.after(1, job_id=b.job.id)] == [b.job.id]
    assert await store.events.after(3, job_id=None) == []


async def test_no_events_yet(store):
    assert await store.events.last_seq() == 0


@pytest.mark.parametrize(
    "tamper",
    [
        "UPDATE audit SET who = 'eve' WHERE seq = 3",
        "UPDATE audit SET at = at + 1 WHERE seq = 3",
        "UPDATE audit SET note = '' WHERE seq = 3",
        "DELETE FROM audit WHERE seq = 2",
        "UPDATE audit SET prev = '' WHERE seq = 3",
    ],
)
async def test_the_audit_chain_shows_tampering(store, sql, make, tamper):
    for n in range(5):
        await store.audit.append("ann", "test.act", f"object {n}", "note")
    assert await store.audit.first_broken() is None
    for name in ("audit_no_update", "audit_no_delete"):
        sql.execute(f"DROP TRIGGER {name}")
    sql.execute(tamper)
    assert await store.audit.first_broken() == 3


async def test_reads_wait_their_turn_and_see_one_moment(store, make):
    """More readers than connections, while jobs move: no view is torn."""
    steps = [await make.start(store) for _ in range(5)]

    async def move(step):
        await make.run_to(store, step, S.VERIFYING)

    async def read():
        page = await store.jobs.list(JobFilter(), None)
        return [
            job.state is job.steps[0].state is job.steps[0].attempts[0].state for job in page.items
        ]

    results = await asyncio.gather(*(read() for _ in range(40)), *(move(step) for step in steps))
    assert all(all(result) for result in results if result is not None)
