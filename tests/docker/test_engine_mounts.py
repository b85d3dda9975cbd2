"""Whether an engine sees what the daemon mounts, asked of real processes behind real sockets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainbox_plugins.docker_backend.engine_mounts import engine_sees_mounts

LISTENS = """
import socket, sys, time
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print("listening", flush=True)
sys.stdin.read()
"""


@pytest.fixture(params=[[], ["unshare", "--mount"]], ids=["our-view", "own-view"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, bool]]:
    path = tmp_path / "engine.sock"
    process = subprocess.Popen(
        [*request.param, sys.executable, "-c", LISTENS, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"listening\n"
    yield f"unix://{path}", not request.param
    process.communicate()


def test_view_of_the_process_behind_the_socket_is_compared(listener: tuple[str, bool]) -> None:
    url, same = listener
    assert engine_sees_mounts(url) is same


def test_engine_that_is_away_sees_nothing(tmp_path: Path) -> None:
    assert engine_sees_mounts(f"unix://{tmp_path}/none.sock") is False


@pytest.mark.docker
def test_local_engine_sees_mounts_of_this_host() -> None:
    assert engine_sees_mounts("unix:///var/run/docker.sock") is True
