"""The doctor on a healthy host and on one with planted faults; every fix is run as it is printed."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainbox.settings import default_plugins_file
from trainbox_sdk.testing.daemon import DaemonProcess

pytestmark = [pytest.mark.slow, pytest.mark.docker, pytest.mark.xdist_group("doctor")]


class Host:
    """A state directory with a running daemon, and a shell on that host."""

    def __init__(self, root: Path) -> None:
        self.state = root / "state"
        self.plugins = root / "plugins.toml"
        shutil.copy(default_plugins_file(), self.plugins)
        commands = root / "bin"
        commands.mkdir()
        trainbox = commands / "trainbox"
        trainbox.write_text(f'#!/bin/sh\nexec {sys.executable} -m trainbox "$@"\n')
        trainbox.chmod(0o755)
        self.daemon = DaemonProcess(self.state, plugins_file=self.plugins)
        self.env = {
            **os.environ,
            "PATH": f"{commands}:{os.environ['PATH']}",
            "TRAINBOX_STATE_DIR": str(self.state),
            "TRAINBOX_PLUGINS_FILE": str(self.plugins),
            "TRAINBOX_URL": self.daemon.url,
        }

    def shell(self, command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command], env=self.env, capture_output=True, text=True, timeout=300
        )

    def doctor(self) -> tuple[int, dict[str, dict[str, str]]]:
        done = self.shell("trainbox admin doctor --json")
        return done.returncode, {one["id"]: one for one in json.loads(done.stdout)}


def bad(found):
    """What is to be mended: findings that name a fix."""
    return {id_: one for id_, one in found.items() if one["fix"]}


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    host = Host(tmp_path_factory.mktemp("host"))
    with host.daemon:
        for command in ("images build --backend docker", "images build --backend process"):
            done = host.shell(f"trainbox {command}")
            assert done.returncode == 0, done.stderr
        yield host


def test_a_healthy_host(host):
    assert host.shell("trainbox admin backup").returncode == 0
    code, found = host.doctor()
    assert code == 0
    assert bad(found) == {}
    assert {one["status"] for one in found.values()} <= {"ok", "warn", "skip"}
    for check in (
        "backend.docker.memory_limit",
        "backend.docker.no_network",
        "backend.process.memory_limit",
        "backend.process.no_network",
        "daemon.answers",
        "audit.chain",
        "database.integrity",
        "backup.age",
        "token.mode",
        "state.mode",
    ):
        assert found[check]["status"] == "ok", found[check]
    assert "was killed" in found["backend.docker.memory_limit"]["seen"]
    lines = host.shell("trainbox admin doctor").stdout.splitlines()
    assert "ok    audit.chain: " in "\n".join(lines)


def test_planted_faults_are_all_found_and_every_fix_works(host):
    host.shell("trainbox admin backup")
    (made,) = host.shell("ls -d $TRAINBOX_STATE_DIR/backups/whole/* | tail -1").stdout.split()
    host.daemon.stop()
    # 1 and 2: readable by others
    host.state.chmod(0o755)
    (host.state / "token").chmod(0o644)
    # 3: a plugin that is listed and not installed
    with host.plugins.open("a") as file:
        file.write('\n[[plugin]]\nname = "left_behind"\nrequired = false\n')
    # 4: someone edited the audit log
    with closing(sqlite3.connect(host.state / "trainbox.db")) as connection, connection:
        connection.execute("DROP TRIGGER audit_no_update")
        connection.execute("UPDATE audit SET who = 'nobody' WHERE seq = 1")
    # 5: the backups are old
    old = (datetime.now(UTC) - timedelta(days=30)).isoformat()
    for manifest in (host.state / "backups" / "whole").glob("*/manifest.json"):
        document = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**document, "made_at": old}))

    code, found = host.doctor()
    assert code == 1
    assert found.pop("daemon.answers")["status"] == "warn"  # stopped, as a restore needs it
    faults = bad(found)
    assert {name: one["status"] for name, one in faults.items()} == {
        "state.mode": "fail",
        "token.mode": "fail",
        "plugins.left_behind": "warn",
        "audit.chain": "fail",
        "backup.age": "warn",
    }
    assert "row 1 " in faults["audit.chain"]["seen"]
    assert "30 days" in faults["backup.age"]["seen"]
    for fault in faults.values():  # in the order they are listed
        done = host.shell(fault["fix"])
        assert done.returncode == 0, (fault, done.stderr)
    host.daemon.start()
    code, found = host.doctor()
    assert (code, bad(found)) == (0, {})
    assert Path(made).is_dir()


def test_a_dead_engine_and_a_full_disk_are_said(host, monkeypatch):
    monkeypatch.setitem(host.env, "DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setitem(host.env, "TRAINBOX_FREE_BYTES_FLOOR", str(2**60))
    code, found = host.doctor()
    assert code == 1
    assert found["disk.space"]["status"] == "fail"
    assert found["disk.space"]["fix"] == "trainbox admin gc --yes"
    assert host.shell("trainbox admin gc --dry-run").returncode == 0


def test_no_daemon_no_state_and_no_plugins_file(host, tmp_path, monkeypatch):
    monkeypatch.setitem(host.env, "TRAINBOX_STATE_DIR", str(tmp_path / "none"))
    monkeypatch.setitem(host.env, "TRAINBOX_PLUGINS_FILE", str(tmp_path / "none.toml"))
    monkeypatch.setitem(host.env, "TRAINBOX_URL", "http://127.0.0.1:1")
    code, found = host.doctor()
    assert code == 1
    assert found["state.exists"]["status"] == "fail"
    assert "none.toml" in found["plugins.load"]["seen"]
    assert found["daemon.answers"]["status"] == "warn"
    assert host.shell(found["state.exists"]["fix"]).returncode == 0
    assert (tmp_path / "none").stat().st_mode & 0o777 == 0o700


def test_rows_cut_from_the_end_of_the_audit_log_are_seen(tmp_path):
    """Only the noted heads can tell: what is left of the chain fits."""
    host = Host(tmp_path)
    with host.daemon:
        host.daemon.upload(b"a,b\n1,2\n3,4\n", name="one")
    with closing(sqlite3.connect(host.state / "trainbox.db")) as connection, connection:
        connection.execute("DROP TRIGGER audit_no_delete")
        connection.execute("DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)")
    _, found = host.doctor()
    assert found["audit.chain"]["status"] == "fail"
    assert "was anchored and is gone" in found["audit.chain"]["seen"]
