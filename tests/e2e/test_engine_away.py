"""The Docker Engine dead at start, and dying in the middle of a job, behind a real socket."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_proxy import EngineProxy

from trainbox_sdk.testing.daemon import DaemonProcess

pytestmark = [
    pytest.mark.slow,
    pytest.mark.docker,
    pytest.mark.xdist_group("e2e"),
    pytest.mark.usefixtures("docker_engine"),
]

PARAMS = {"target": "churned", "ignore": ["weight"], "trials": 10, "max_iterations": 200}


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[EngineProxy]:
    proxy = EngineProxy(tmp_path / "docker.sock")
    yield proxy
    proxy.down()


@pytest.fixture
def daemon(tmp_path: Path, proxy: EngineProxy) -> DaemonProcess:
    names = ["native", "tabular", "onnx_check"]
    plugins = tmp_path / "plugins.toml"
    plugins.write_text(
        "".join(f'[[plugin]]\nname = "{name}"\n\n' for name in names)
        + f'[[plugin]]\nname = "docker"\n[plugin.config]\nsocket_url = "unix://{proxy.path}"\nreconnect_s = 1\n'
    )
    return DaemonProcess(tmp_path / "state", plugins_file=plugins)


def readiness(daemon: DaemonProcess) -> tuple[int, str]:
    status, _, body = daemon.request("GET", "/readyz", token=None)
    return status, body.decode()


def test_dead_at_start_the_daemon_serves_and_the_job_waits_for_it(
    daemon: DaemonProcess, proxy: EngineProxy, make_churn: Callable[..., bytes]
) -> None:
    with daemon:
        status, body = readiness(daemon)
        assert status == 503 and str(proxy.path) in body
        daemon.upload(make_churn(100), name="churn")
        job_id = daemon.submit("binclass", dataset_id="churn", params={**PARAMS, "trials": 1})
        job = daemon.until(job_id, lambda job: job["reason_code"] == "backend_unavailable")
        assert job["state"] == "queued" and "docker" in job["reason"]
        proxy.up()
        job = daemon.wait(job_id)
        assert job["state"] == "succeeded", job["reason"]
        assert readiness(daemon)[0] == 200


def test_dying_in_the_middle_of_a_job_loses_nothing(
    daemon: DaemonProcess, proxy: EngineProxy, make_churn: Callable[..., bytes]
) -> None:
    proxy.up()
    with daemon:
        daemon.upload(make_churn(1500), name="churn")
        job_id = daemon.submit("binclass", dataset_id="churn", params=PARAMS)

        def scores(_: Any) -> bool:
            names = [e["data"].get("name") for e in daemon.events(job_id)]
            return names.count("trial_score") >= 2

        daemon.until(job_id, scores, 120)
        proxy.down()
        time.sleep(4)
        assert daemon.job(job_id)["state"] == "running"
        assert daemon.request("GET", "/healthz")[0] == 200
        proxy.up()
        job = daemon.wait(job_id)
        assert job["state"] == "succeeded", job["reason"]
        assert len(job["steps"][0]["attempts"]) == 1
        warnings = [e for e in daemon.events(job_id) if e["kind"] == "warning"]
        assert len(warnings) == 1
        steps = [
            e["data"]["step"]
            for e in daemon.events(job_id)
            if e["data"].get("name") == "trial_score"
        ]
        assert steps == list(range(PARAMS["trials"]))
