"""A job is stored once per key, whole or not at all."""

import asyncio
import json
from dataclasses import replace
from types import MappingProxyType

import pytest

from trainbox.store import Store
from trainbox_sdk.errors import IdempotencyClash, NotFound
from trainbox_sdk.jobs import State


async def test_what_insert_answers_is_what_is_stored(store, make):
    data = await store.datasets.insert(make.dataset(), audit="upload")
    new = make.job(
        make.plan("a"),
        make.plan("b", after=("a",)),
        dataset_id=data.id,
        params=MappingProxyType({"trials": 3, "é": [1.5, None]}),
        resources={"cpus": 1.5},
        labels={"team": "x"},
        priority=7,
        key="k",
    )
    inserted = await store.jobs.insert(new, audit="test")
    assert not inserted.replayed
    assert await store.jobs.get(new.id) == inserted.job
    view = inserted.job
    assert (view.state, view.priority, view.labels) == (State.QUEUED, 7, {"team": "x"})
    assert [step.name for step in view.steps] == ["a", "b"]
    assert view.steps[1].after == ("a",)
    [first, second] = await store.jobs.live_steps()
    assert [first.plan, second.plan] == list(new.steps)
    assert (first.after_done, second.after_done) == (True, False)
    assert first.resources == new.resources


async def test_job_steps_event_and_audit_are_one_transaction(store, sql, make):
    sql.execute(
        "CREATE TRIGGER no_audit BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    with pytest.raises(Exception, match="no"):
        await store.jobs.insert(make.job(), audit="test")
    counts = [
        sql.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in ("jobs", "steps", "events")
    ]
    assert counts == [0, 0, 0]


async def test_the_first_event_and_the_audit_row(store, make):
    new = make.job()
    await store.jobs.insert(new, audit="native surface")
    [event] = await store.events.after(0, job_id=new.id)
    assert (event.kind, event.data["state"], event.data["job_state"]) == (
        "state",
        "queued",
        "queued",
    )
    [row] = await store.audit.after(0)
    assert (row.who, row.act, row.object, row.note) == (
        "ann",
        "job.submit",
        new.id,
        "native surface",
    )


async def test_one_key_100_times_at_once_makes_one_job(store, make):
    new = [make.job(key="k") for _ in range(100)]
    all_ = await asyncio.gather(*(store.jobs.insert(each, audit="test") for each in new))
    assert {inserted.job.id for inserted in all_} == {all_[0].job.id}
    assert sum(not inserted.replayed for inserted in all_) == 1
    assert len(await store.events.after(0, job_id=None)) == 1
    assert len(await store.jobs.live_steps()) == 1


async def test_another_request_under_the_key_clashes_and_names_the_job(store, make):
    first = await store.jobs.insert(make.job(key="k"), audit="test")
    with pytest.raises(IdempotencyClash, match=first.job.id):
        await store.jobs.insert(make.job(key="k", digest="d2"), audit="test")
    assert len(await store.jobs.live_steps()) == 1


async def test_keys_are_the_owners_own_and_no_key_never_clashes(store, make):
    new = [make.job(key="k"), make.job(key="k", owner="bob"), make.job(), make.job()]
    all_ = [await store.jobs.insert(each, audit="test") for each in new]
    assert [inserted.replayed for inserted in all_] == [False] * 4


async def test_a_replay_shows_the_job_as_it_is_now_also_after_a_restart(state_dir, make):
    store = await Store.open(state_dir)
    step = await make.start(store, make.job(key="k"))
    await make.run_to(store, step, State.RUNNING)
    await store.close()
    store = await Store.open(state_dir)
    again = await store.jobs.insert(make.job(key="k"), audit="test")
    assert again.replayed and again.job.state is State.RUNNING
    await store.close()


async def test_an_unknown_dataset_is_not_found(store, make):
    with pytest.raises(NotFound, match="ds_none") as missing:
        await store.jobs.insert(make.job(dataset_id="ds_none"), audit="test")
    assert missing.value.code == "dataset_not_found"


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([("a", ()), ("a", ())], "distinct names"),
        ([("a", ("b",))], "unknown steps"),
        ([("a", ("b",)), ("b", ("a",))], "cycle"),
        ([("a", ("a",))], "cycle"),
    ],
)
async def test_a_plan_that_is_no_graph_is_refused(store, make, steps, words):
    plans = [make.plan(name, after=after) for name, after in steps]
    with pytest.raises(ValueError, match=words):
        await store.jobs.insert(make.job(*plans), audit="test")
    assert await store.jobs.live_steps() == []


async def test_no_steps_are_refused(store, make):
    with pytest.raises(ValueError, match="needs steps"):
        await store.jobs.insert(replace(make.job(), steps=()), audit="test")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes"])
async def test_what_json_does_not_have_is_refused_before_the_writer(store, make, value):
    with pytest.raises((ValueError, TypeError)):
        await store.jobs.insert(make.job(params={"x": value}), audit="test")


async def test_hostile_text_is_stored_as_it_is(store, make):
    text = "x'); DROP TABLE jobs; --\u0000\u202e🙂"
    new = make.job(name=text, params={text: text}, labels={text: text})
    inserted = await store.jobs.insert(new, audit=text)
    view = await store.jobs.get(new.id)
    assert view == inserted.job
    assert json.dumps(view.params) == json.dumps({text: text})


async def test_a_job_that_does_not_exist(store):
    assert await store.jobs.get("job_none") is None
    assert await store.jobs.step("stp_none") is None
    assert await store.jobs.artifact("art_none") is None
    assert await store.jobs.artifacts("job_none") == []
