"""Jobs over HTTP against a real daemon: changed, compared, done again, recognised, freed, explained."""

from __future__ import annotations

import itertools
import json
import os
import shlex
import subprocess
import sys
import threading
import time

import pytest

from trainbox_sdk.testing.daemon import RequestFailed

TRAINS = {"outputs": {"model.onnx": "onnx", "notes.txt": "n" * 1000}, "stdout": "one\ntwo\n"}
SEEDS = itertools.count(1000)


def submit(daemon, *, if_identical=None, **more):
    params = {"fake": TRAINS, "seed": next(SEEDS), **more.pop("params", {})}
    body = {"task": "scripted", "params": params, **more}
    if if_identical:
        body["if_identical"] = if_identical
    return daemon.call("POST", "/v1/jobs", body)


def refused(daemon, method, path, body=None):
    with pytest.raises(RequestFailed) as error:
        daemon.call(method, path, body)
    return error.value.status, error.value.body


# --- the same again


def test_an_identical_job_is_recognised_and_answered_if_asked(daemon):
    first = submit(daemon, params={"seed": 1, "rate": 0.5})
    assert first["identical_to"] is None
    daemon.wait(first["id"])
    again = submit(daemon, params={"rate": 0.5, "seed": 1}, name="other", priority=3)
    assert again["identical_to"] == first["id"] != again["id"]
    daemon.wait(again["id"])
    body = {"task": "scripted", "params": {"fake": TRAINS, "seed": 1, "rate": 0.5}}
    status, headers, raw = daemon.request(
        "POST",
        "/v1/jobs",
        json.dumps(body | {"if_identical": "reuse"}).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert (status, headers["Job-Reused"]) == (200, "true")
    assert json.loads(raw)["id"] == again["id"]  # the newest that succeeded


@pytest.mark.parametrize(
    "other",
    [{"params": {"seed": 3}}, {"params": {"seed": 2, "more": 1}}, {"resources": {"cpus": 2}}],
    ids=["seed", "parameter", "resources"],
)
def test_what_is_not_identical_is_run(daemon, other):
    first = submit(daemon, params={"seed": 2})
    job = submit(daemon, if_identical="reuse", **{"params": {"seed": 2}, **other})
    assert job["id"] != first["id"] and job["identical_to"] is None


def test_a_default_that_is_spelt_out_is_the_same_job(daemon):
    body = {"task": "scripted", "params": {"fake": {"stdout": "default"}}}
    first = daemon.call("POST", "/v1/jobs", body)
    body["params"]["seed"] = 0
    assert daemon.call("POST", "/v1/jobs", body)["identical_to"] == first["id"]


def test_a_failed_or_deleted_job_is_never_reused(daemon):
    params = {"fake": {"exit_code": 1}, "seed": 5}
    failed = submit(daemon, params=params)
    daemon.wait(failed["id"])
    assert submit(daemon, params=params, if_identical="reuse")["id"] != failed["id"]
    fine = submit(daemon, params={"seed": 6})
    daemon.wait(fine["id"])
    daemon.call("DELETE", f"/v1/jobs/{fine['id']}")
    assert submit(daemon, params={"seed": 6}, if_identical="reuse")["id"] != fine["id"]


def test_a_live_job_is_shared_by_many_callers_at_once(daemon):
    params = {"fake": {"run_for_s": 0.3}, "seed": 7}
    answers = []

    def ask():
        answers.append(submit(daemon, params=params, if_identical="reuse")["id"])

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 and len(set(answers)) == 1


# --- changes


def test_labels_can_always_be_changed_and_are_found_at_once(daemon):
    job = submit(daemon, labels={"team": "crm", "old": "1"})
    daemon.wait(job["id"])
    changed = daemon.call("PATCH", f"/v1/jobs/{job['id']}", {"labels": {"team": "ads", "a:b": "c"}})
    assert changed["labels"] == {"team": "ads", "a:b": "c"}
    for query, found in [("team:ads", 1), ("team:crm", 0), ("old", 0), ("team", 1)]:
        listed = daemon.call("GET", f"/v1/jobs?label={query}&label=team")["items"]
        assert (job["id"] in [one["id"] for one in listed]) is bool(found)


def test_priority_changes_only_while_it_waits_and_moves_it_forward(daemon):
    # More than one needs all the machine: the second waits.
    first = submit(daemon, params={"fake": {"run_for_s": None}}, resources={"cpus": 4})
    daemon.until(first["id"], lambda job: job["state"] == "running")
    waiting = [submit(daemon, resources={"cpus": 4}) for _ in range(3)]
    last = waiting[-1]["id"]
    daemon.until(last, lambda job: job["reason_code"] == "behind")
    told = daemon.call("GET", f"/v1/jobs/{last}/explain")
    assert told["waiting"] == {"position": 3, "ahead": waiting[1]["id"], "short": {}}
    daemon.call("PATCH", f"/v1/jobs/{last}", {"priority": 9})
    daemon.until(last, lambda job: job["reason_code"] == "no_capacity")
    told = daemon.call("GET", f"/v1/jobs/{last}/explain")
    assert told["waiting"]["position"] == 1 and told["waiting"]["ahead"] is None
    assert told["waiting"]["short"]["cpus"] == {"wanted": 4, "free": 0}
    assert told["kind"] == "waiting" and told["next_steps"]
    status, body = refused(daemon, "PATCH", f"/v1/jobs/{first['id']}", {"priority": 1})
    assert (status, body["code"]) == (409, "job_not_queued")
    waits = [e["data"] for e in daemon.events(last) if e["kind"] == "waiting"]
    assert waits[0]["position"] == 3 and waits[0]["next"] == waiting[0]["id"]
    daemon.call("POST", f"/v1/jobs/{first['id']}/cancel")
    ended = [daemon.wait(job["id"]) for job in waiting]
    assert ended[-1]["started_at"] < min(job["started_at"] for job in ended[:-1])


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"priority": 101}, ["priority"]),
        ({"priority": "1"}, ["priority"]),
        ({"labels": {"a": 1}}, ["labels", "a"]),
        ({"labels": {"a": "x" * 500}}, ["labels", "a"]),
        ({"state": "failed"}, ["state"]),
    ],
)
def test_bad_changes_are_refused_with_their_place(daemon, body, where):
    job = submit(daemon)
    status, problem = refused(daemon, "PATCH", f"/v1/jobs/{job['id']}", body)
    assert (status, problem["errors"][0]["loc"]) == (422, where)


@pytest.mark.parametrize(
    "query",
    ["sort=x", "order=up", "created_after=yesterday", "created_after=2026-01-01T00:00:00",
     "state=done", "label=" + "x" * 400, "q=" + "x" * 400, "limit=0", "after=zzz", "nope=1"],
)  # fmt: skip
def test_bad_queries_are_refused(daemon, query):
    status, problem = refused(daemon, "GET", f"/v1/jobs?{query}")
    assert status == 422 and problem["errors"]


# --- side by side


def test_jobs_side_by_side(daemon):
    def one(rmse, **params):
        fake = {
            "outputs": {"model.onnx": "o"},
            "result": {"metrics": {"rmse": rmse, "r2": rmse, "x": 1}},
        }
        job = submit(daemon, params={"fake": fake, "deep": {"depth": params["depth"]}})
        return daemon.wait(job["id"])["id"]

    ids = [one(0.5, depth=4), one(0.25, depth=6), one(0.25, depth=6)]
    told = daemon.call("GET", f"/v1/jobs/compare?ids={','.join(ids)}")
    assert [job["id"] for job in told["jobs"]] == ids and told["same_data"] is True
    assert all(job["duration_s"] is not None for job in told["jobs"])
    params = {one["path"]: one["values"] for one in told["params"]}
    assert params["deep.depth"] == [4, 6, 6] and "seed" in params and "fake.outputs" not in params
    metrics = {one["name"]: one for one in told["metrics"]}
    assert (metrics["rmse"]["better"], metrics["rmse"]["best"]) == ("lower", [1, 2])
    assert (metrics["r2"]["better"], metrics["r2"]["best"]) == ("higher", [0])
    assert (metrics["x"]["better"], metrics["x"]["best"]) == ("", [])


@pytest.mark.parametrize("ids", ["", "job_a", "job_a,job_a", ",".join(map(str, range(21)))])
def test_what_cannot_be_compared(daemon, ids):
    status, _ = refused(daemon, "GET", f"/v1/jobs/compare?ids={ids}")
    assert status == 422


def test_a_job_that_is_not_there_cannot_be_compared(daemon):
    status, body = refused(daemon, "GET", "/v1/jobs/compare?ids=job_a,job_b")
    assert (status, body["code"]) == (404, "job_not_found")


# --- again


ODD = {"text": 'it\'s "odd" $HOME `id` \\ é\n', "number": "5", "list": [1, None], "flag": True}


def test_the_curl_and_the_command_line_really_submit_the_same(daemon, tmp_path):
    job = submit(daemon, params=ODD, labels={"team": "c r'm"}, priority=-4, name="churn 'x'")
    told = daemon.call("GET", f"/v1/jobs/{job['id']}/reproduce")
    env = {**os.environ, "TRAINBOX_TOKEN": daemon.token, "TRAINBOX_URL": daemon.url}
    done = subprocess.run(["bash", "-euc", told["curl"]], capture_output=True, env=env, check=True)
    ids = [json.loads(done.stdout)["id"]]
    cli = told["cli"].replace("trainbox ", f"{shlex.quote(sys.executable)} -m trainbox ", 1)
    done = subprocess.run(["bash", "-euc", cli], capture_output=True, env=env, check=True)
    ids.append(done.stdout.decode().strip())
    for again in map(daemon.job, ids):
        assert again["id"] != job["id"]
        for name in ("task", "params", "labels", "priority", "name", "resources", "backend"):
            assert again[name] == job[name], name
        assert submit(daemon, params=job["params"])["identical_to"] is not None
    assert daemon.token not in "".join(map(str, told.values()))
    compile(told["python"], "reproduce.py", "exec")
    assert repr(ODD["text"])[1:-1] in told["python"]


# --- freed


def test_deleting_frees_what_no_model_needs_and_says_how_much(daemon):
    job = daemon.wait(submit(daemon)["id"])
    before = daemon.events(job["id"])
    blobs = daemon.state_dir / "blobs"
    freed = daemon.call("DELETE", f"/v1/jobs/{job['id']}")
    assert freed["kept"] == ["model.onnx"] and freed["deleted_at"]
    # The log at least; the notes of other tests are the same bytes, and stay while those do.
    assert freed["bytes_freed"] >= len("one\ntwo\n")
    assert any(blobs.rglob("*"))
    attempt = job["steps"][0]["attempts"][0]["id"]
    assert not list((daemon.state_dir / "logs").glob(f"{attempt}*"))
    listed = daemon.call("GET", "/v1/jobs?limit=500")["items"]
    assert job["id"] not in [one["id"] for one in listed]
    assert daemon.job(job["id"])["deleted_at"] == freed["deleted_at"]
    assert [e["seq"] for e in daemon.events(job["id"])][: len(before)] == [e["seq"] for e in before]
    assert daemon.call("DELETE", f"/v1/jobs/{job['id']}")["bytes_freed"] == 0
    model = daemon.call("GET", f"/v1/models/{job['model_id']}")
    status, _, body = daemon.request("GET", f"/v1/artifacts/{model['artifact_id']}/content")
    assert (status, body) == (200, b"onnx")


def test_bytes_that_nothing_else_needs_are_gone_from_the_disk(daemon):
    text = f"only here {time.time_ns()} " + "x" * 5000
    fake = {"outputs": {"notes.txt": text}, "stdout": "12345"}
    job = daemon.wait(submit(daemon, params={"fake": fake})["id"])
    (artifact,) = daemon.call("GET", f"/v1/jobs/{job['id']}/artifacts")["items"]
    digest = artifact["digest"].removeprefix("sha256:")
    path = daemon.state_dir / "blobs" / "sha256" / digest[:2] / digest[2:]
    found = [p for p in (daemon.state_dir / "blobs").rglob(digest[2:])]
    assert len(found) == 1, path
    freed = daemon.call("DELETE", f"/v1/jobs/{job['id']}")
    assert freed["bytes_freed"] == len(text) + 5 and not found[0].exists()
    assert daemon.call("GET", f"/v1/jobs/{job['id']}/artifacts")["items"] == []


def test_a_failed_jobs_scratch_goes_with_it_and_a_live_job_stays(daemon):
    job = daemon.wait(submit(daemon, params={"fake": {"exit_code": 1}})["id"])
    scratch = daemon.state_dir / "scratch" / job["steps"][0]["id"]
    assert scratch.is_dir()
    (scratch / "journal").write_bytes(b"j" * 4321)
    assert daemon.call("DELETE", f"/v1/jobs/{job['id']}")["bytes_freed"] >= 4321
    assert not scratch.exists()
    status, body = refused(daemon, "POST", f"/v1/jobs/{job['id']}/retry")
    assert (status, body["code"]) == (409, "job_deleted")
    live = submit(daemon, params={"fake": {"run_for_s": None}})["id"]
    status, body = refused(daemon, "DELETE", f"/v1/jobs/{live}")
    assert (status, body["code"]) == (409, "job_not_ended")
    daemon.call("POST", f"/v1/jobs/{live}/cancel")


# --- why


def test_a_failure_says_whose_matter_it_is_what_was_seen_and_what_to_do(daemon):
    printed = "".join(f"line {n}\n" for n in range(30)) + "\x1b[31mValueError: bad\x1b[0m\n"
    job = daemon.wait(submit(daemon, params={"fake": {"exit_code": 3, "stdout": printed}})["id"])
    told = daemon.call("GET", f"/v1/jobs/{job['id']}/explain")
    assert (told["reason_code"], told["kind"]) == ("exit_3", "code")
    seen = told["evidence"]
    assert (seen["exit_code"], seen["step"], seen["attempt"]) == (3, "train", 1)
    assert len(seen["log_tail"]) == 20 and seen["log_tail"][-1] == "ValueError: bad"
    (event,) = [e["data"] for e in daemon.events(job["id"]) if e["data"].get("state") == "failed"]
    assert event["log_tail"] == seen["log_tail"] and event["exit_code"] == 3
    assert event["kind"] == "code" and event["next_steps"]


def test_out_of_memory_proposes_more_and_the_proposal_runs(daemon):
    fake = {"out_of_memory": True, "peak_memory_bytes": 1024**3}
    job = daemon.wait(submit(daemon, params={"fake": fake})["id"])
    told = daemon.call("GET", f"/v1/jobs/{job['id']}/explain")
    assert (told["kind"], told["evidence"]["peak_memory_bytes"]) == ("limits", 1024**3)
    step = told["next_steps"][0]
    assert "2 GiB" in step["text"] and "--memory 2147483648" in step["cli"]
    env = {**os.environ, "TRAINBOX_TOKEN": daemon.token}
    done = subprocess.run(["bash", "-euc", step["curl"]], capture_output=True, env=env, check=True)
    assert json.loads(done.stdout)["resources"]["memory_bytes"] == 2 * 1024**3


def test_a_success_has_nothing_to_explain(daemon):
    job = daemon.wait(submit(daemon)["id"])
    told = daemon.call("GET", f"/v1/jobs/{job['id']}/explain")
    assert (told["kind"], told["waiting"], told["next_steps"]) == ("", None, [])


def test_a_log_can_be_followed_before_there_is_one(daemon):
    blocker = submit(daemon, params={"fake": {"run_for_s": None}}, resources={"cpus": 4})["id"]
    daemon.until(blocker, lambda job: job["state"] == "running")
    job_id = submit(daemon, resources={"cpus": 4})["id"]
    got = {}

    def follow():
        got["log"] = daemon.request("GET", f"/v1/jobs/{job_id}/logs?follow=true")

    reader = threading.Thread(target=follow)
    reader.start()
    daemon.until(job_id, lambda job: job["reason_code"] == "no_capacity")
    assert "log" not in got
    daemon.call("POST", f"/v1/jobs/{blocker}/cancel")
    reader.join()
    status, _, body = got["log"]
    assert (status, body) == (200, b"one\ntwo\n")
