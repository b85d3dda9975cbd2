"""scripts/ensure_docker.sh against stand-ins for the tools it calls; this host stays untouched."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "ensure_docker.sh"


class Host:
    """A PATH of stand-ins; ``engine`` is a file whose presence means that the engine answers."""

    def __init__(self, folder: Path) -> None:
        self.engine = folder / "engine"
        self.calls = folder / "calls"
        self._bin = folder / "bin"
        self._bin.mkdir()
        self._log = folder / "dockerd.log"
        self.tool("docker", f"test -e {self.engine} && echo 99.0")
        self.tool("pidof", f"test -e {self.engine}")
        self.tool("debootstrap", "true")
        self.tool("dockerd", f"echo dockerd >> {self.calls}; touch {self.engine}; exec sleep 0")
        self.tool("apt-get", f"echo apt-get >> {self.calls}")
        self.tool("sleep", "true")
        self.tool("id", "echo 0")

    def tool(self, name: str, body: str) -> None:
        path = self._bin / name
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def run(self) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{self._bin}:{os.environ['PATH']}", "TRAINBOX_DOCKERD_LOG": str(self._log)}
        return subprocess.run(
            ["sh", str(SCRIPT)], capture_output=True, text=True, timeout=60, env=env, check=False
        )

    def called(self) -> list[str]:
        return self.calls.read_text().split() if self.calls.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Host:
    if Path("/run/systemd/system").exists():
        pytest.fail("these stand-ins are for machines without systemd; run them in a container")
    return Host(tmp_path)


def test_engine_that_answers_is_left_alone(host: Host) -> None:
    host.engine.touch()
    done = host.run()
    assert (done.returncode, done.stdout) == (0, "ensure_docker: engine 99.0 answers\n")
    assert host.called() == []


def test_engine_that_is_down_is_started_once(host: Host) -> None:
    done = host.run()
    assert done.returncode == 0, done.stderr
    assert "started dockerd" in done.stdout
    assert len(done.stdout.splitlines()) == 1
    assert host.run().returncode == 0
    assert host.called() == ["dockerd"]


def test_dockerd_that_dies_is_reported_with_its_last_words(host: Host) -> None:
    host.tool("dockerd", "echo no storage driver here; exit 1")
    done = host.run()
    assert done.returncode == 1
    assert "no storage driver here" in done.stderr
    assert done.stdout == ""


def test_user_who_is_not_root_is_told_what_to_do(host: Host) -> None:
    host.tool("id", "echo 1000")
    done = host.run()
    assert done.returncode == 1
    assert "root" in done.stderr
    assert "TRAINBOX_TEST_WITHOUT_DOCKER" in done.stderr
    assert host.called() == []
