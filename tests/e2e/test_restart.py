"""kill -9 of the daemon while a sandbox trains: adopted, succeeds once, nothing lost or left over."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbox_sdk.testing.daemon import DaemonProcess

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.xdist_group("e2e")]

PARAMS = {"target": "churned", "ignore": ["weight"], "trials": 12, "max_iterations": 300}


def containers(instance: str) -> list[str]:
    out = subprocess.run(
        [
            "docker",
            "ps",
            "-a",
            "--no-trunc",
            "--filter",
            f"label=trainbox.instance={instance}",
            "--format",
            "{{.ID}}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return out.stdout.split()


def instance_of(state_dir: Path) -> str:
    return str(json.loads((state_dir / "instance.json").read_text())["instance"])


@pytest.fixture
def fresh(state_dir: Path, backend: str) -> DaemonProcess:
    return DaemonProcess(state_dir, env={"TRAINBOX_BACKEND": backend})


@pytest.fixture(scope="module", params=["docker", "process"])
def backend(request: pytest.FixtureRequest) -> str:
    if request.param == "docker":
        request.getfixturevalue("docker_engine")
    return str(request.param)


def trial_steps(events: list[Any]) -> list[int]:
    return [
        e["data"]["step"]
        for e in events
        if e["kind"] == "metric" and e["data"]["name"] == "trial_score"
    ]


def begin(daemon: DaemonProcess, make_churn: Callable[..., bytes]) -> str:
    daemon.upload(make_churn(2000), name="churn")
    job_id = daemon.submit("binclass", dataset_id="churn", params=PARAMS)
    daemon.until(job_id, lambda job: len(trial_steps(daemon.events(job_id))) >= 2, 120)
    assert daemon.job(job_id)["state"] == "running"
    return job_id


def expect_whole(daemon: DaemonProcess, job_id: str, before: list[Any]) -> None:
    job = daemon.wait(job_id)
    assert job["state"] == "succeeded", job["reason"]
    assert [len(step["attempts"]) for step in job["steps"]] == [1]
    events = daemon.events(job_id)
    assert events[: len(before)] == before
    seqs = [event["seq"] for event in events]
    assert seqs == sorted(set(seqs))
    assert trial_steps(events) == list(range(PARAMS["trials"]))
    states = [e["data"]["state"] for e in events if e["kind"] == "state"]
    assert states == ["queued", "preparing", "running", "collecting", "verifying", "succeeded"]
    assert len(daemon.call("GET", "/v1/models")["items"]) == 1


@pytest.mark.parametrize("away_s", [0.0, 12.0], ids=["running on", "ended while away"])
def test_kill_9_while_a_sandbox_trains(
    fresh: DaemonProcess,
    backend: str,
    state_dir: Path,
    make_churn: Callable[..., bytes],
    away_s: float,
) -> None:
    fresh.start()
    job_id = begin(fresh, make_churn)
    before = fresh.events(job_id)
    if backend == "docker":
        assert len(containers(instance_of(state_dir))) == 1
        running = containers(instance_of(state_dir))[0]
    fresh.kill()
    time.sleep(away_s)
    if backend == "docker":
        assert containers(instance_of(state_dir)) == [running]
    with fresh:
        expect_whole(fresh, job_id, before)
        log = fresh.request("GET", f"/v1/jobs/{job_id}/logs")[2]
        assert b"Traceback" not in log
        if backend == "docker":
            deadline = time.monotonic() + 20
            while containers(instance_of(state_dir)) and time.monotonic() < deadline:
                time.sleep(0.2)
            assert containers(instance_of(state_dir)) == []
    assert list((state_dir / "sandboxes").iterdir()) == []


def test_a_designed_stop_leaves_the_sandbox_running(
    fresh: DaemonProcess, make_churn: Callable[..., bytes]
) -> None:
    fresh.start()
    job_id = begin(fresh, make_churn)
    before = fresh.events(job_id)
    assert fresh.stop() == 0
    with fresh:
        expect_whole(fresh, job_id, before)


def test_a_stream_goes_on_with_its_last_event_id_over_a_restart(
    fresh: DaemonProcess, make_churn: Callable[..., bytes]
) -> None:
    fresh.start()
    job_id = begin(fresh, make_churn)
    seen = fresh.events(job_id)
    fresh.kill()
    with fresh:
        rest = list(fresh.stream(job_id, after=seen[-1]["seq"]))
        assert [*seen, *rest] == fresh.events(job_id)


def test_a_killed_search_resumes_in_a_new_attempt(
    fresh: DaemonProcess, backend: str, state_dir: Path, make_churn: Callable[..., bytes]
) -> None:
    """The sandbox itself is killed: interrupted, and a retry repeats no finished trial."""
    with fresh:
        job_id = begin(fresh, make_churn)
        if backend == "docker":
            subprocess.run(
                ["docker", "rm", "-f", *containers(instance_of(state_dir))],
                check=True,
                capture_output=True,
            )
        else:
            subprocess.run(["pkill", "-9", "-f", str(state_dir / "sandboxes")], check=False)
        job = fresh.wait(job_id)
        assert job["state"] in {"interrupted", "failed"}, job
        if backend == "docker":
            assert (job["state"], job["reason_code"]) == ("interrupted", "sandbox_lost")
        done = set(trial_steps(fresh.events(job_id)))
        fresh.call("POST", f"/v1/jobs/{job_id}/retry")
        job = fresh.wait(job_id)
        assert job["state"] == "succeeded", job["reason"]
        steps = trial_steps(fresh.events(job_id))
        assert set(steps) == set(range(PARAMS["trials"]))
        assert all(steps.count(number) == 1 for number in done), steps
        assert [a["number"] for a in job["steps"][0]["attempts"]] == [1, 2]


def test_a_stop_right_after_the_success_leaves_nothing_behind(
    fresh: DaemonProcess, backend: str, state_dir: Path, make_churn: Callable[..., bytes]
) -> None:
    fresh.start()
    fresh.upload(make_churn(100), name="churn")
    params = {**PARAMS, "trials": 1, "max_iterations": 5}
    job_id = fresh.submit("binclass", dataset_id="churn", params=params)
    last = list(fresh.stream(job_id))[-1]
    assert last["data"]["state"] == "succeeded"
    assert fresh.stop() == 0
    assert list((state_dir / "sandboxes").iterdir()) == []
    if backend == "docker":
        assert containers(instance_of(state_dir)) == []
