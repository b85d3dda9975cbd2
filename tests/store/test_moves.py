"""Moves: one winner each, with its event, and what follows for attempts, siblings and the job."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from trainbox import states
from trainbox.store.records import Outcome
from trainbox_sdk.errors import Conflict, NotFound
from trainbox_sdk.jobs import State

S = State


async def state_events(store, job_id):
    events = await store.events.after(0, job_id=job_id)
    return [(e.data["step"], e.data["state"]) for e in events if e.kind == "state"]


async def test_begin_makes_an_attempt_before_anything_runs(store, make):
    inserted = await store.jobs.insert(make.job(), audit="test")
    step_id = inserted.job.steps[0].id
    begun = await store.jobs.begin_attempt(step_id, deadline_at=make.deadline, environment_ref="e1")
    assert (begun.state, begun.attempt) == (S.PREPARING, 1)
    assert (begun.deadline_at, begun.environment_ref) == (make.deadline, "e1")
    assert begun == await store.jobs.step(step_id)
    [attempt] = (await store.jobs.get(inserted.job.id)).steps[0].attempts
    assert (attempt.id, attempt.number, attempt.state) == (begun.attempt_id, 1, S.PREPARING)
    assert attempt.id.startswith("att_")


async def test_a_step_is_begun_once_however_many_try(store, make):
    inserted = await store.jobs.insert(make.job(), audit="test")
    step_id = inserted.job.steps[0].id
    begun = await asyncio.gather(
        *(store.jobs.begin_attempt(step_id, deadline_at=None) for _ in range(50))
    )
    assert sum(each is not None for each in begun) == 1


async def test_a_step_marked_for_its_end_is_not_begun(store, sql, make):
    inserted = await store.jobs.insert(make.job(), audit="test")
    sql.execute("UPDATE steps SET cancel_requested = 1")
    assert await store.jobs.begin_attempt(inserted.job.steps[0].id, deadline_at=None) is None


async def test_a_step_waits_for_what_it_needs(store, make):
    new = make.job(make.plan("a"), make.plan("b", after=("a",)))
    inserted = await store.jobs.insert(new, audit="test")
    a, b = (step.id for step in inserted.job.steps)
    assert await store.jobs.begin_attempt(b, deadline_at=None) is None
    assert [step.id for step in await store.jobs.queued_steps(limit=9)] == [a]
    step = await store.jobs.begin_attempt(a, deadline_at=None)
    step = await make.run_to(store, step, S.COLLECTING)
    await store.jobs.succeed(step, S.COLLECTING)
    assert (await store.jobs.get(new.id)).state is S.QUEUED
    assert (await store.jobs.get(new.id)).progress == 0.5
    assert [step.id for step in await store.jobs.queued_steps(limit=9)] == [b]
    assert await store.jobs.begin_attempt(b, deadline_at=None) is not None


async def test_one_of_many_threads_and_tasks_wins_a_move(store, make):
    step = await make.start(store)
    loop = asyncio.get_running_loop()

    def from_a_thread():
        move = store.jobs.transition(step, S.PREPARING, S.RUNNING)
        return asyncio.run_coroutine_threadsafe(move, loop).result(30)

    moved = await asyncio.gather(
        *(asyncio.to_thread(from_a_thread) for _ in range(8)),
        *(store.jobs.transition(step, S.PREPARING, S.FAILED) for _ in range(8)),
    )
    [winner] = [each for each in moved if each is not None]
    assert (await store.jobs.step(step.id)).state is winner.state
    assert len(await state_events(store, step.job_id)) == 3


async def test_the_whole_way_in_events_and_times(store, make):
    step = await make.start(store)
    step = await make.run_to(store, step, S.VERIFYING)
    made = make.artifact()
    done = await store.jobs.succeed(
        step, S.VERIFYING, artifacts=[made], model=make.model(made), outcome=Outcome(exit_code=0)
    )
    path = ["queued", "preparing", "running", "collecting", "verifying", "succeeded"]
    assert [state for _, state in await state_events(store, step.job_id)] == path
    events = await store.events.after(0, job_id=step.job_id)
    assert [event.kind for event in events[-2:]] == ["model", "state"]
    assert events[-1].data["job_state"] == "succeeded"
    assert [event.seq for event in events] == sorted({event.seq for event in events})
    job = await store.jobs.get(step.job_id)
    assert (job.state, job.progress, job.model_id) == (S.SUCCEEDED, 1.0, done.model.id)
    assert job.metrics == {"rmse": 0.25}
    assert job.created_at <= job.started_at <= job.finished_at
    [attempt] = job.steps[0].attempts
    assert (attempt.state, attempt.exit_code) == (S.SUCCEEDED, 0)
    assert done.step.started_at == attempt.started_at == job.started_at
    assert await store.models.get(done.model.id) == done.model
    [view] = await store.jobs.artifacts(step.job_id)
    assert view == await store.jobs.artifact(made.id)
    assert (view.digest, view.step) == (made.digest, "train")


async def test_the_outcome_is_told_where_people_look(store, make):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    outcome = Outcome(
        reason_code="out_of_memory",
        reason="killed: memory limit 8 GiB \ud800",  # a lone surrogate, as hostile JSON may hold
        exit_code=137,
        peak_memory_bytes=8 << 30,
        data={"state": "forged", "limit": 8},
    )
    moved = await store.jobs.transition(step, S.RUNNING, S.FAILED, outcome)
    assert moved.reason_code == "out_of_memory"
    job = await store.jobs.get(step.job_id)
    assert (job.state, job.reason_code) == (S.FAILED, "out_of_memory")
    assert job.reason.startswith("killed: memory limit") and job.finished_at is not None
    [attempt] = job.steps[0].attempts
    assert (attempt.exit_code, attempt.peak_memory_bytes) == (137, 8 << 30)
    assert (attempt.reason_code, attempt.finished_at) == ("out_of_memory", job.finished_at)
    event = (await store.events.after(0, job_id=step.job_id))[-1]
    assert event.data["state"] == "failed" and event.data["limit"] == 8


async def test_a_move_may_set_deadline_and_environment(store, make):
    step = await make.start(store)
    later = datetime(2040, 1, 1, tzinfo=UTC)
    told = Outcome(deadline_at=later, environment_ref="sha256:abc")
    moved = await store.jobs.transition(step, S.PREPARING, S.RUNNING, told)
    assert (moved.deadline_at, moved.environment_ref) == (later, "sha256:abc")
    kept = await store.jobs.transition(moved, S.RUNNING, S.COLLECTING)
    assert (kept.deadline_at, kept.environment_ref) == (later, "sha256:abc")


async def test_a_move_outside_the_table_is_a_bug(store, make):
    step = await make.start(store)
    with pytest.raises(states.IllegalTransition):
        await store.jobs.transition(step, S.PREPARING, S.SUCCEEDED)
    with pytest.raises(states.IllegalTransition):
        await store.jobs.succeed(step, S.RUNNING)


async def test_a_stale_attempt_is_refused_everything(store, make):
    stale = await make.run_to(store, await make.start(store), S.RUNNING)
    await store.jobs.transition(stale, S.RUNNING, S.INTERRUPTED)
    await store.jobs.retry(stale.job_id, who="ann")
    fresh = await store.jobs.begin_attempt(stale.id, deadline_at=None)
    fresh = await make.run_to(store, fresh, S.COLLECTING)
    as_if = replace(stale, state=S.COLLECTING)
    made = make.artifact()
    assert await store.jobs.transition(as_if, S.COLLECTING, S.FAILED) is None
    assert await store.jobs.succeed(as_if, S.COLLECTING, artifacts=[made]) is None
    assert await store.jobs.artifacts(stale.job_id) == []
    assert (await store.jobs.step(stale.id)).attempt_id == fresh.attempt_id


@pytest.mark.parametrize("end", [S.FAILED, S.CANCELLED, S.INTERRUPTED])
async def test_a_bad_end_takes_the_queued_steps_along(store, make, end):
    plans = [
        make.plan("a"),
        make.plan("b", after=("a",)),
        make.plan("c", after=("b",)),
        make.plan("d"),
    ]
    step = await make.start(store, make.job(*plans))
    await store.jobs.transition(
        step, S.PREPARING, end, Outcome(reason_code="why", reason="Because.")
    )
    job = await store.jobs.get(step.job_id)
    assert [s.state for s in job.steps] == [end, S.CANCELLED, S.CANCELLED, S.CANCELLED]
    assert [s.reason_code for s in job.steps] == ["why", "upstream", "upstream", "upstream"]
    # What nobody asked for does not become "cancelled" by its followers.
    assert (job.state, job.reason_code, job.reason) == (end, "why", "Because.")
    assert job.finished_at is not None
    assert await store.jobs.live_steps() == []
    ends = (await state_events(store, step.job_id))[-4:]
    assert ends == [("a", end), ("b", "cancelled"), ("c", "cancelled"), ("d", "cancelled")]


async def test_an_active_sibling_keeps_the_job_going_until_it_ends(store, make):
    inserted = await store.jobs.insert(make.job(make.plan("a"), make.plan("b")), audit="test")
    a, b = [
        await store.jobs.begin_attempt(step.id, deadline_at=None) for step in inserted.job.steps
    ]
    b = await make.run_to(store, b, S.COLLECTING)
    await store.jobs.transition(a, S.PREPARING, S.FAILED)
    job = await store.jobs.get(inserted.job.id)
    assert (job.state, job.finished_at) == (S.COLLECTING, None)
    await store.jobs.succeed(b, S.COLLECTING)
    job = await store.jobs.get(inserted.job.id)
    assert job.state is S.FAILED and job.finished_at is not None


async def test_cancel_of_what_is_queued_ends_it_at_once(store, make):
    inserted = await store.jobs.insert(make.job(make.plan("a"), make.plan("b")), audit="test")
    assert await store.jobs.request_cancel(inserted.job.id, who="bob") == []
    job = await store.jobs.get(inserted.job.id)
    assert (job.state, job.reason_code, job.reason) == (
        S.CANCELLED,
        "cancelled",
        "cancelled by bob",
    )
    assert job.finished_at is not None and job.started_at is None
    audit = [(row.who, row.act) for row in await store.audit.after(0)]
    assert audit == [("ann", "job.submit"), ("bob", "job.cancel")]
    with pytest.raises(Conflict, match="already ended"):
        await store.jobs.request_cancel(inserted.job.id, who="bob")
    assert len(await store.audit.after(0)) == 2


async def test_cancel_of_what_is_active_is_recorded_before_the_sandbox_is_stopped(store, make):
    step = await make.start(store, make.job(make.plan("a"), make.plan("b", after=("a",))))
    [active] = await store.jobs.request_cancel(step.job_id, who="ann")
    assert active.id == step.id and active.cancel_requested and active.state is S.PREPARING
    [again] = await store.jobs.request_cancel(step.job_id, who="ann")
    assert again.id == step.id
    messages = [e for e in await store.events.after(0, job_id=step.job_id) if e.kind == "message"]
    assert len(messages) == 1
    assert (await store.jobs.get(step.job_id)).state is S.PREPARING
    ended = await store.jobs.transition(active, S.PREPARING, S.CANCELLED)
    assert ended is not None
    assert (await store.jobs.get(step.job_id)).state is S.CANCELLED


async def test_cancel_against_begin_has_one_winner(store, make):
    for _ in range(20):
        inserted = await store.jobs.insert(make.job(), audit="test")
        begun, active = await asyncio.gather(
            store.jobs.begin_attempt(inserted.job.steps[0].id, deadline_at=None),
            store.jobs.request_cancel(inserted.job.id, who="ann"),
        )
        assert (begun is None) == (active == [])


async def test_cancel_and_retry_of_nothing(store):
    with pytest.raises(NotFound):
        await store.jobs.request_cancel("job_none", who="ann")
    with pytest.raises(NotFound):
        await store.jobs.retry("job_none", who="ann")
    with pytest.raises(NotFound):
        await store.jobs.append_event("job_none", "warning", {})


async def test_retry_queues_what_did_not_succeed_and_keeps_the_past(store, make):
    plans = [make.plan("a"), make.plan("b", after=("a",)), make.plan("c", after=("b",))]
    step = await make.start(store, make.job(*plans))
    step = await make.run_to(store, step, S.COLLECTING)
    await store.jobs.succeed(step, S.COLLECTING)
    b = (await store.jobs.queued_steps(limit=1))[0]
    b = await store.jobs.begin_attempt(b.id, deadline_at=None)
    b = await make.run_to(store, b, S.RUNNING)
    await store.jobs.request_cancel(b.job_id, who="ann")
    await store.jobs.transition(b, S.RUNNING, S.CANCELLED)
    before = await store.jobs.get(b.job_id)

    after = await store.jobs.retry(b.job_id, who="bob")
    assert [s.state for s in after.steps] == [S.SUCCEEDED, S.QUEUED, S.QUEUED]
    assert (after.state, after.finished_at, after.started_at) == (S.QUEUED, None, None)
    assert after.progress == pytest.approx(1 / 3)
    assert after.steps[1].attempts == before.steps[1].attempts
    assert (await store.jobs.step(step.id)).attempt_id == step.attempt_id
    again = await store.jobs.begin_attempt(b.id, deadline_at=None)
    assert (again.attempt, again.cancel_requested, again.events_offset) == (2, False, 0)
    assert again.attempt_id != b.attempt_id
    assert [row.act for row in await store.audit.after(0)][-1] == "job.retry"


async def test_retry_only_of_what_ended_badly(store, make):
    step = await make.start(store)
    with pytest.raises(Conflict, match="is preparing"):
        await store.jobs.retry(step.job_id, who="ann")
    step = await make.run_to(store, step, S.COLLECTING)
    await store.jobs.succeed(step, S.COLLECTING)
    with pytest.raises(Conflict, match="is succeeded"):
        await store.jobs.retry(step.job_id, who="ann")


async def test_retry_twice_at_once_happens_once(store, make):
    step = await make.start(store)
    await store.jobs.transition(step, S.PREPARING, S.FAILED)
    tried = await asyncio.gather(
        *(store.jobs.retry(step.job_id, who="ann") for _ in range(5)), return_exceptions=True
    )
    assert sum(isinstance(each, Conflict) for each in tried) == 4


async def test_why_a_step_waits_is_news_once(store, make):
    inserted = await store.jobs.insert(make.job(), audit="test")
    step_id = inserted.job.steps[0].id
    for sentence in ("Two jobs are before it.", "Two jobs are before it.", "One job is before it."):
        await store.jobs.explain_wait(step_id, "slots", sentence)
    waiting = [
        e for e in await store.events.after(0, job_id=inserted.job.id) if e.kind == "waiting"
    ]
    assert [event.data["reason"][:3] for event in waiting] == ["Two", "One"]
    job = await store.jobs.get(inserted.job.id)
    assert (job.reason_code, job.reason) == ("slots", "One job is before it.")
    await store.jobs.begin_attempt(step_id, deadline_at=None)
    await store.jobs.explain_wait(step_id, "slots", "Too late.")
    job = await store.jobs.get(inserted.job.id)
    assert (job.reason_code, job.steps[0].reason) == ("", "")


async def test_model_versions_are_numbered_without_gaps_however_many_end_at_once(store, make):
    steps = [await make.run_to(store, await make.start(store), S.COLLECTING) for _ in range(20)]

    async def succeed(step):
        made = make.artifact()
        return await store.jobs.succeed(
            step, S.COLLECTING, artifacts=[made], model=make.model(made)
        )

    done = await asyncio.gather(*(succeed(step) for step in steps))
    assert sorted(each.model.version for each in done) == list(range(1, 21))


async def test_a_success_that_cannot_be_stored_leaves_nothing(store, make):
    step = await make.run_to(store, await make.start(store), S.COLLECTING)
    made = make.artifact()
    with pytest.raises(ValueError, match="did not leave"):
        await store.jobs.succeed(
            step, S.COLLECTING, artifacts=[made], model=make.model(make.artifact())
        )
    assert await store.jobs.artifacts(step.job_id) == []
    assert (await store.jobs.step(step.id)).state is S.COLLECTING
    assert await store.jobs.succeed(step, S.COLLECTING, artifacts=[made]) is not None


async def test_counts_by_state(store, make):
    for _ in range(3):
        await store.jobs.insert(make.job(), audit="test")
    await make.start(store)
    counts = await store.jobs.counts()
    assert counts[S.QUEUED] == 3 and counts[S.PREPARING] == 1 and counts[S.FAILED] == 0
    assert set(counts) == set(State)


async def test_active_and_queued_steps(store, make):
    low = await store.jobs.insert(make.job(priority=-1), audit="test")
    first = await store.jobs.insert(make.job(), audit="test")
    second = await store.jobs.insert(make.job(), audit="test")
    high = await store.jobs.insert(make.job(priority=5), audit="test")
    active = await make.start(store)
    wanted = [high, first, second, low]
    queued = await store.jobs.queued_steps(limit=9)
    assert [step.job_id for step in queued] == [each.job.id for each in wanted]
    assert [step.job_id for step in await store.jobs.queued_steps(limit=2)] == [
        each.job.id for each in wanted[:2]
    ]
    assert await store.jobs.active_steps() == [active]
    assert len(await store.jobs.live_steps()) == 5
