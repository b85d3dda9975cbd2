"""What guests report is stored once, over restarts too, and whatever they write does no harm."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from trainbox.store import Store
from trainbox.store.guests import LONGEST_NAME, MOST_METRICS, StaleOffset
from trainbox.store.records import GuestEvent
from trainbox_sdk.jobs import State

S = State
AT = datetime(2026, 3, 4, 5, 6, 7, 891011, tzinfo=UTC)


def progress(fraction, **more):
    return GuestEvent("progress", AT, {"fraction": fraction, **more})


def metric(name, value):
    return GuestEvent("metric", AT, {"name": name, "value": value})


async def stored(store, step):
    events = await store.events.after(0, job_id=step.job_id)
    return [event for event in events if event.kind not in ("state", "waiting")]


async def test_events_and_offset_are_one_fact(store, make):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    batch = [progress(0.25, eta_s=12.5), metric("rmse", 3.0), metric("rmse", 2.0)]
    assert await store.jobs.append_guest_events(step, batch, 300)
    assert [(e.kind, e.at, e.data) for e in await stored(store, step)] == [
        (event.kind, AT, event.data) for event in batch
    ]
    assert (await store.jobs.step(step.id)).events_offset == 300
    job = await store.jobs.get(step.job_id)
    assert (job.progress, job.eta_s, job.metrics) == (0.25, 12.5, {"rmse": 2.0})


async def test_a_batch_sent_again_is_answered_and_not_stored_again(store, make):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    for _ in range(3):
        assert await store.jobs.append_guest_events(step, [progress(0.5)], 100)
    assert len(await stored(store, step)) == 1
    with pytest.raises(StaleOffset, match="up to byte 100"):
        await store.jobs.append_guest_events(step, [progress(0.5), progress(0.6)], 200)
    step = replace(step, events_offset=100)
    assert await store.jobs.append_guest_events(step, [progress(0.6)], 200)
    assert len(await stored(store, step)) == 2


@pytest.mark.parametrize("killed_after", range(6))
async def test_exactly_once_over_restarts(state_dir, make, killed_after):
    """A tail that dies anywhere and begins again from the stored offset loses and doubles nothing."""
    lines = [json.dumps({"n": n}).encode() + b"\n" for n in range(6)]
    ends = [sum(map(len, lines[: n + 1])) for n in range(6)]

    async def tail(store, step, stop_after):
        for n, end in enumerate(ends):
            if end <= step.events_offset:
                continue
            event = GuestEvent("message", AT, json.loads(lines[n]))
            assert await store.jobs.append_guest_events(step, [event], end)
            if n == stop_after:
                return  # the daemon dies before it remembers that this was stored
            step = replace(step, events_offset=end)

    store = await Store.open(state_dir)
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    await tail(store, step, killed_after)
    await store.close()
    store = await Store.open(state_dir)
    await tail(store, await store.jobs.step(step.id), None)
    assert [event.data["n"] for event in await stored(store, step)] == list(range(6))
    await store.close()


async def test_an_ended_or_former_attempt_adds_nothing(store, make):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    await store.jobs.transition(step, S.RUNNING, S.FAILED)
    assert not await store.jobs.append_guest_events(step, [progress(0.9)], 10)
    await store.jobs.retry(step.job_id, who="ann")
    assert not await store.jobs.append_guest_events(step, [progress(0.9)], 10)
    await store.jobs.begin_attempt(step.id, deadline_at=None)
    assert not await store.jobs.append_guest_events(step, [progress(0.9)], 10)
    assert await stored(store, step) == []


async def test_progress_never_falls_within_a_run_and_counts_all_steps(store, make):
    new = make.job(make.plan("a"), make.plan("b", after=("a",)))
    step = await make.run_to(store, await make.start(store, new), S.RUNNING)
    for offset, fraction, job in ((1, 0.5, 0.25), (2, 0.1, 0.25), (3, 0.9, 0.45)):
        await store.jobs.append_guest_events(step, [progress(fraction)], offset)
        step = replace(step, events_offset=offset)
        assert (await store.jobs.get(step.job_id)).progress == pytest.approx(job)


@pytest.mark.parametrize("value", ["1", None, True, [1], {}, 10**400, float("nan"), float("inf")])
async def test_hostile_numbers_are_kept_out_of_the_summary(store, make, value):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    data = {"value": value} if value == value and value != float("inf") else {"value": None}
    events = [
        GuestEvent("progress", AT, {"fraction": data["value"], "eta_s": data["value"]}),
        GuestEvent("metric", AT, {"name": "m", **data}),
        GuestEvent("metric", AT, {"name": ["m"], "value": 1.0}),
        GuestEvent("metric", AT, {}),
    ]
    assert await store.jobs.append_guest_events(step, events, 1)
    job = await store.jobs.get(step.job_id)
    assert (job.progress, job.eta_s, job.metrics) == (0.0, None, {})


@pytest.mark.parametrize(("fraction", "shown"), [(-5, 0.0), (7, 1.0), (1e308, 1.0)])
async def test_progress_is_a_fraction(store, make, fraction, shown):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    assert await store.jobs.append_guest_events(step, [progress(fraction)], 1)
    assert (await store.jobs.get(step.job_id)).progress == shown


async def test_endless_metric_names_do_not_swell_the_job(store, make):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    events = [metric(f"m{n}", float(n)) for n in range(MOST_METRICS * 2)]
    assert await store.jobs.append_guest_events(
        step, [*events, metric("x" * (LONGEST_NAME + 1), 1.0), metric("m0", 9.0)], 1
    )
    metrics = (await store.jobs.get(step.job_id)).metrics
    assert len(metrics) == MOST_METRICS and metrics["m0"] == 9.0


async def test_lone_surrogates_are_read_as_replaced_and_any_time_is_stored(store, make):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    times = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), AT]
    events = [GuestEvent("message", at, {"text": "\ud800\x00"}) for at in times]
    events.append(metric("\ud800", 1.0))
    assert await store.jobs.append_guest_events(step, events, 1)
    assert [event.at for event in await stored(store, step)] == [*times, AT]
    assert (await store.jobs.get(step.job_id)).metrics == {"\ufffd": 1.0}


async def test_a_clock_set_back_gives_no_negative_duration(store, sql, make):
    step = await make.run_to(store, await make.start(store), S.RUNNING)
    ahead = int((datetime.now(UTC) + timedelta(days=1)).timestamp() * 1e6)
    sql.execute("UPDATE attempts SET started_at = ?", (ahead,))
    sql.execute("UPDATE jobs SET started_at = ?", (ahead,))
    await store.jobs.transition(step, S.RUNNING, S.FAILED)
    job = await store.jobs.get(step.job_id)
    [attempt] = job.steps[0].attempts
    assert job.finished_at >= job.started_at and attempt.finished_at >= attempt.started_at
