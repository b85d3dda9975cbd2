"""Messages reach their receivers, signed as Standard Webhooks has it, at least once."""

from __future__ import annotations

import json

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from trainbox_sdk.testing.daemon import RequestFailed

JOB = {"outputs": {"model.onnx": "x"}, "result": {"metrics": {"rmse": 0.5}}}


def run_job(api, **fake):
    job_id = api.submit("scripted", params={"fake": fake}, name="churn", labels={"team": "crm"})
    return api.wait(job_id)


def test_a_job_is_told_from_the_queue_to_its_end_and_the_real_library_verifies(api, receiver):
    hook = api.hook(receiver.url, "job.queued", "job.running", "job.succeeded")
    job = run_job(api, **JOB)
    heard = receiver.wait(lambda all_: len(all_) >= 3)
    assert {one.event for one in heard} >= {"job.queued", "job.running", "job.succeeded"}
    verifier = Webhook(hook["secret"])
    for one in heard:
        payload = verifier.verify(one.body, one.headers)
        assert payload["data"]["owner"] == job["owner"]
        assert one.headers["content-type"] == "application/json"
    told = next(json.loads(one.body) for one in heard if one.event == "job.succeeded")["data"]
    assert (told["id"], told["state"], told["name"]) == (job["id"], "succeeded", "churn")
    assert (told["labels"], told["model_id"]) == ({"team": "crm"}, job["model_id"])
    with pytest.raises(WebhookVerificationError):
        verifier.verify(heard[0].body + b" ", heard[0].headers)


@pytest.mark.parametrize(
    ("fake", "event"),
    [({"exit_code": 3}, "job.failed"), ({"vanishes": True}, "job.interrupted")],
    ids=["failed", "interrupted"],
)
def test_bad_ends_are_told_with_their_reason(api, receiver, fake, event):
    api.hook(receiver.url, event)
    job = run_job(api, **fake)
    (one,) = receiver.wait(lambda all_: len(all_) >= 1)
    told = json.loads(one.body)
    assert told["type"] == event
    assert (told["data"]["reason_code"], told["data"]["id"]) == (job["reason_code"], job["id"])


def test_a_cancelled_job_is_told_and_only_what_was_asked_for(api, receiver):
    hook = api.hook(receiver.url, "job.cancelled")
    job_id = api.submit("scripted", params={"fake": {"run_for_s": None}})
    api.call("POST", f"/v1/jobs/{job_id}/cancel")
    api.wait(job_id)
    assert receiver.events(1) == ["job.cancelled"]
    assert [one["event"] for one in api.settled(hook["id"])] == ["job.cancelled"]


def test_a_receiver_that_fails_twice_gets_it_the_third_time_under_one_id(api, receiver):
    receiver.answers = [503, 503]
    hook = api.hook(receiver.url)
    sent = api.call("POST", f"/v1/webhooks/{hook['id']}/test")
    (done,) = api.settled(hook["id"])
    heard = receiver.heard
    assert [one.id for one in heard] == [sent["message_id"]] * 3
    assert len({one.body for one in heard}) == 1
    for one in heard:
        Webhook(hook["secret"]).verify(one.body, one.headers)
    assert (done["state"], done["attempts"]) == ("delivered", 3)
    assert [one["status"] for one in done["tries"]] == [503, 503, 204]
    assert [bool(one["error"]) for one in done["tries"]] == [True, True, False]
    assert api.call("GET", f"/v1/webhooks/{hook['id']}")["failing_since"] is None


def test_it_is_given_up_after_the_last_try_and_can_be_sent_again(api, receiver):
    receiver.answers = [500] * 4
    hook = api.hook(receiver.url)
    sent = api.call("POST", f"/v1/webhooks/{hook['id']}/test")
    (done,) = api.settled(hook["id"])
    assert (done["state"], done["attempts"], done["next_attempt_at"]) == ("failed", 4, None)
    assert api.call("GET", f"/v1/webhooks/{hook['id']}")["failing_since"] is not None
    again = f"/v1/webhooks/{hook['id']}/deliveries/{done['id']}/redeliver"
    other = api.call("POST", again)
    assert other["id"] != done["id"] and other["message_id"] == sent["message_id"]
    newest, _ = api.settled(hook["id"], 2)
    assert newest["state"] == "delivered"
    assert {one.id for one in receiver.heard} == {sent["message_id"]}


def test_410_disables_it_and_its_owners_other_webhooks_hear_of_that(api, receivers):
    gone, other = receivers(), receivers()
    gone.answers = [410]
    hook = api.hook(gone.url, "job.queued")
    api.hook(other.url, "webhook.disabled")
    api.call("POST", f"/v1/webhooks/{hook['id']}/test")
    assert other.events(1) == ["webhook.disabled"]
    shown = api.call("GET", f"/v1/webhooks/{hook['id']}")
    assert (shown["state"], shown["reason"]) == ("disabled", "the receiver answered 410 Gone")
    with pytest.raises(RequestFailed) as refused:
        api.call("POST", f"/v1/webhooks/{hook['id']}/test")
    assert (refused.value.status, refused.value.body["code"]) == (409, "webhook_not_active")
    assert api.call("PATCH", f"/v1/webhooks/{hook['id']}", {"active": True})["state"] == "active"
    api.call("POST", f"/v1/webhooks/{hook['id']}/test")
    assert gone.events(2) == ["webhook.test"] * 2


def test_redirects_are_not_followed(api, receivers):
    there, here = receivers(), receivers()
    here.answers, here.location = [307, 301, 302, 308], there.url
    hook = api.hook(here.url)
    api.call("POST", f"/v1/webhooks/{hook['id']}/test")
    (done,) = api.settled(hook["id"])
    assert (done["state"], len(here.heard), there.heard) == ("failed", 4, [])
    assert "redirects are not followed" in done["tries"][0]["error"]


def test_a_rotated_secret_signs_beside_the_old_one(api, receiver):
    old = api.hook(receiver.url)
    new = api.call("POST", f"/v1/webhooks/{old['id']}/rotate")
    assert new["secret"] != old["secret"] and new["old_secret_until"] is not None
    api.call("POST", f"/v1/webhooks/{old['id']}/test")
    (one,) = receiver.wait(lambda all_: len(all_) >= 1)
    assert len(one.headers["webhook-signature"].split(" ")) == 2
    for secret in (old["secret"], new["secret"]):
        Webhook(secret).verify(one.body, one.headers)


def test_a_paused_one_hears_nothing_of_what_happens_meanwhile(api, receiver):
    hook = api.hook(receiver.url, "job.succeeded")
    api.call("PATCH", f"/v1/webhooks/{hook['id']}", {"active": False})
    run_job(api)
    assert api.log(hook["id"]) == []
    api.call("PATCH", f"/v1/webhooks/{hook['id']}", {"active": True})
    run_job(api)
    assert receiver.events(1) == ["job.succeeded"]


def test_a_slow_receiver_keeps_no_other_waiting(api, receivers):
    slow, quick = receivers(), receivers()
    slow.silent.set()
    stuck = api.hook(slow.url)
    for _ in range(12):
        api.call("POST", f"/v1/webhooks/{stuck['id']}/test")
    slow.wait(lambda all_: len(all_) == 4)  # as many as one webhook may have under way
    hook = api.hook(quick.url)
    api.call("POST", f"/v1/webhooks/{hook['id']}/test")
    assert api.settled(hook["id"])[0]["state"] == "delivered"
    assert len(slow.heard) == 4
    slow.silent.clear()
    assert all(one["state"] == "delivered" for one in api.settled(stuck["id"], 12))


def test_models_and_datasets_are_told(api, receiver):
    hook = api.hook(receiver.url, "model.created", "dataset.created")
    model = api.call("GET", f"/v1/models/{run_job(api, **JOB)['model_id']}")
    data = api.upload(b"a,b\n1,2\n3,4\n5,6\n", name="told")
    heard = receiver.wait(lambda all_: len(all_) == 2)
    told = {one.event: json.loads(one.body)["data"] for one in heard}
    assert told["model.created"]["id"] == model["id"]
    assert told["dataset.created"]["id"] == data["id"]
    assert all(one["state"] == "delivered" for one in api.settled(hook["id"], 2))


# --- a daemon that is killed


def test_what_was_committed_before_a_kill_is_told_after_it(make_daemon, receivers):
    daemon = make_daemon(TRAINBOX_WEBHOOK_RETRY_S="0.5,0.5,0.5,0.5,0.5,0.5,0.5,0.5")
    gone = receivers()
    gone.close()  # nobody listens: the message is on the disk and cannot have left
    with daemon:
        hook = daemon.call("POST", "/v1/webhooks", {"url": gone.url, "events": ["job.queued"]})
        job_id = daemon.submit("scripted", params={"fake": {"run_for_s": None}})
        daemon.kill()
        back = receivers(gone.port)
        daemon.start()
        (one, *_) = back.wait(lambda all_: len(all_) >= 1)
        assert json.loads(one.body)["data"]["id"] == job_id
        Webhook(hook["secret"]).verify(one.body, one.headers)


def test_what_was_sent_but_not_answered_before_a_kill_is_sent_again(make_daemon, receiver):
    with make_daemon() as daemon:
        hook = daemon.call("POST", "/v1/webhooks", {"url": receiver.url})
        receiver.silent.set()
        sent = daemon.call("POST", f"/v1/webhooks/{hook['id']}/test")
        receiver.wait(lambda all_: len(all_) == 1)
        daemon.kill()
        receiver.silent.clear()
        daemon.start()
        first, second = receiver.wait(lambda all_: len(all_) == 2)
        assert first.id == second.id == sent["message_id"]
        assert first.body == second.body
