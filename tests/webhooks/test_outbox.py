"""The outbox's rows: written with the fact or not at all, disabled and forgotten in time."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from trainbox.clock import now
from trainbox.ids import new_id
from trainbox.store import Store, outbox
from trainbox.store.records import NewArtifact, NewJob, NewModel
from trainbox.store.webhook_rows import After
from trainbox_sdk.errors import Conflict
from trainbox_sdk.calls.jobs import JobFilter
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.tasks import StepPlan
from trainbox_sdk.models import AliasMove
from trainbox_sdk.webhooks import NewWebhook, Try, WebhookState

S = State
STEP = StepPlan("train", "a:b", ("a",), "e")


@pytest.fixture
async def store(tmp_path: Path):
    opened = await Store.open(tmp_path / "state")
    yield opened
    await opened.close()


async def hook(store, owner="ann", **new):
    new = NewWebhook("https://hooks.corp.lan/x", **new)
    return await store.webhooks.insert(new, owner=owner, secret="whsec_c2VjcmV0", most=50)


async def submit(store, owner="ann"):
    new = NewJob(new_id("job"), owner, JobSpec("t"), Resources(), "fake", (STEP,))
    return (await store.jobs.insert(new, audit="t")).job


async def due(store, later_s=0.0):
    return await store.webhooks.due(now() + timedelta(seconds=later_s), frozenset(), 50)


def failure(retry_in_s=None, **more):
    at = now() + timedelta(seconds=retry_in_s) if retry_in_s is not None else None
    return After(Try(now(), 500, "the receiver answered 500", 0.1), False, at, **more)


async def test_a_fact_that_is_rolled_back_is_not_told(store):
    await hook(store)

    def fail(tx):
        outbox.tell(tx, "dataset.created", "ann", {"id": "ds_1"})
        raise Conflict("after all not")

    with pytest.raises(Conflict):
        await store._writer.write(fail)
    assert await due(store) == []
    await store._writer.write(lambda tx: outbox.tell(tx, "dataset.created", "ann", {"id": "ds_1"}))
    assert len(await due(store)) == 1


async def test_owners_hear_of_their_own_and_admins_of_everyones_if_they_ask(store):
    mine, all_ = await hook(store), await hook(store, owner="root", everyone=True)
    await hook(store, owner="bob")
    await submit(store)
    assert sorted(one.webhook_id for one in await due(store)) == sorted([mine.id, all_.id])


async def test_nothing_is_written_where_nobody_listens(store):
    await submit(store)
    later = await hook(store)
    assert (await store.webhooks.deliveries(later.id)).items == ()
    assert await store.webhooks.next_due() is None


async def test_a_promotion_is_told(store):
    await submit(store)
    job = (await store.jobs.list(JobFilter(), None)).items[0]
    step = await store.jobs.begin_attempt(job.steps[0].id, deadline_at=None)
    for before, after in ((S.PREPARING, S.RUNNING), (S.RUNNING, S.COLLECTING)):
        step = await store.jobs.transition(step, before, after)
    artifact = NewArtifact(new_id("art"), "m.onnx", "model", "sha256:" + "1" * 64, 5, "a/b")
    model = NewModel(new_id("mdl"), "churn", artifact.id, {}, {}, {})
    await store.jobs.succeed(step, S.COLLECTING, artifacts=[artifact], model=model)
    await hook(store, events=("model.promoted",))
    await store.aliases.move("ann", AliasMove("churn", "champion", 1), who="bob")
    (told,) = await due(store)
    body = json.loads(told.body)
    assert body["type"] == "model.promoted"
    assert (body["data"]["about"], body["data"]["to_version"]) == ("churn@champion", 1)
    await store.aliases.move("ann", AliasMove("churn", "champion", None), who="bob")
    assert len(await due(store)) == 1  # taking an alias away promotes nothing


async def test_it_is_disabled_after_days_of_failures_alone(store):
    one = await hook(store)
    await submit(store)
    (first,) = await due(store)
    await store.webhooks.record(first, failure(retry_in_s=0, disable_after=3600))
    assert (await store.webhooks.get(one.id)).state is WebhookState.ACTIVE
    (first,) = await due(store, 1)
    await store.webhooks.record(first, failure(retry_in_s=60, disable_after=0.0))
    shown = await store.webhooks.get(one.id)
    assert shown.state is WebhookState.DISABLED and "nothing was delivered" in shown.reason
    assert await due(store, 1000) == []
    (delivery,) = (await store.webhooks.deliveries(one.id)).items
    assert (delivery.state, delivery.attempts) == ("failed", 2)
    assert [row.act for row in await store.audit.after(0)][-1] == "webhook.disable"


async def test_the_log_is_forgotten_in_time_and_what_waits_is_not(store):
    one = await hook(store)
    for _ in range(5):
        await submit(store)
    old, *_ = await due(store)
    await store.webhooks.record(old, After(Try(now(), 204, "", 0.1), True))
    assert await store.webhooks.forget(now() - timedelta(days=1)) == 0
    assert await store.webhooks.forget(now() + timedelta(seconds=1)) == 1
    assert len((await store.webhooks.deliveries(one.id)).items) == 4
    messages = await store._writer.write(
        lambda tx: tx.one("SELECT COUNT(*) AS n FROM webhook_messages")["n"]
    )
    assert messages == 4


async def test_a_busy_webhook_takes_its_share_and_no_more(store):
    await hook(store)
    for _ in range(10):
        await submit(store)
    first = await store.webhooks.due(now(), frozenset(), 4)
    assert len(first) == 4
    busy = frozenset(one.id for one in first[:3])
    assert [o.id for o in await store.webhooks.due(now(), busy, 4)] == [first[3].id]


async def test_the_most_webhooks_of_one_owner(store):
    for _ in range(2):
        await store.webhooks.insert(NewWebhook("https://a/"), owner="ann", secret="s", most=2)
    with pytest.raises(Conflict) as refused:
        await store.webhooks.insert(NewWebhook("https://a/"), owner="ann", secret="s", most=2)
    assert refused.value.code == "too_many_webhooks"
    await store.webhooks.insert(NewWebhook("https://a/"), owner="bob", secret="s", most=2)


async def test_what_is_due_is_read_along_an_index(store, tmp_path):
    import sqlite3
    from contextlib import closing

    from trainbox.store.webhooks import DUE_SQL, FORGET_SQL, NEXT_SQL

    values = {"webhook": "w", "now": 1, "limit": 1, "before": 1}
    with closing(sqlite3.connect(tmp_path / "state" / "trainbox.db")) as connection:
        for sql in (DUE_SQL, NEXT_SQL, FORGET_SQL):
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert not [s for s in plan if s.startswith("SCAN") and "webhook_deliveries" in s], plan
            assert not [step for step in plan if "TEMP B-TREE" in step], plan
