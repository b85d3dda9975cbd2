"""The service manager's protocols, spoken with real sockets and a real child."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from trainbox import service_manager

CHILD = """
import json, os
os.environ["LISTEN_PID"] = str(os.getpid()) if os.environ.pop("RIGHT") == "1" else "1"
from trainbox.service_manager import take_sockets
first = take_sockets()
print(json.dumps({
    "names": [each.name for each in first],
    "kinds": [each.socket.family.name for each in first],
    "inherited": [os.get_inheritable(each.socket.fileno()) for each in first],
    "again": len(take_sockets()),
    "left": [name for name in os.environ if name.startswith("LISTEN_")],
}))
"""


@pytest.fixture
def manager(tmp_path, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield lambda: sock.recv(4096).decode()


def test_what_is_told_arrives(manager) -> None:
    service_manager.notify("READY=1")
    assert manager() == "READY=1"
    service_manager.notify_status("two\nlines")
    assert manager() == "STATUS=two lines"
    service_manager.feed_watchdog()
    assert manager() == "WATCHDOG=1"
    service_manager.notify_reloading()
    assert manager().startswith("RELOADING=1\nMONOTONIC_USEC=")


def test_without_a_manager_nothing_happens(monkeypatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    service_manager.notify("READY=1")


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
    ids=["none", "ours", "anothers", "zero", "nonsense"],
)
def test_the_watchdogs_interval(monkeypatch, variables, seconds) -> None:
    for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert service_manager.watchdog_s() == seconds


def run_child(right: bool, tmp_path) -> dict:
    """Hand two sockets to a child as descriptors 3 and 4."""
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "s"))
    unix.listen()
    with tcp, unix:
        shell = f"exec 3<&{tcp.fileno()} 4<&{unix.fileno()}; exec {sys.executable} -c '{CHILD}'"
        done = subprocess.run(
            ["bash", "-c", shell.replace("'1'", '"1"')],
            pass_fds=(tcp.fileno(), unix.fileno()),
            env={
                **os.environ,
                "RIGHT": "1" if right else "0",
                "LISTEN_FDS": "2",
                "LISTEN_FDNAMES": "tcp:unix",
            },
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_handed_sockets_are_taken_once_and_not_passed_on(tmp_path) -> None:
    assert run_child(True, tmp_path) == {
        "names": ["tcp", "unix"],
        "kinds": ["AF_INET", "AF_UNIX"],
        "inherited": [False, False],
        "again": 0,
        "left": [],
    }


def test_another_processs_sockets_are_left_alone(tmp_path) -> None:
    assert run_child(False, tmp_path)["names"] == []
