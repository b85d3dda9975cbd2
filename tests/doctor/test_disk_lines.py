"""What the doctor says of disks: what is in force, or why not and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainbox.disks import Disks
from trainbox.doctor.sandboxes import _disk, _fix
from trainbox_plugins.process_backend.promises import promises, summary
from trainbox_sdk.backends import Level


def disks(tmp_path: Path, trouble: str) -> Disks:
    made = Disks(tmp_path / "disks")
    made.trouble = trouble
    return made


def test_where_disks_hold_it_says_how_large(tmp_path: Path) -> None:
    found = _disk("backend.docker", disks(tmp_path, ""), sees_mounts=True)
    assert (found.id, found.status, found.fix) == ("backend.docker.disk", "ok", "")
    assert found.seen.endswith("ext4 image of 4 GiB, 65536 files")


@pytest.mark.parametrize(
    ("trouble", "sees_mounts", "why", "fix"),
    [
        ("", False, "its backend does not see what this daemon mounts", ""),
        ("the daemon is not root, so it cannot mount one", True, "not root", ""),
        (
            "mke2fs is not installed (Debian: e2fsprogs)",
            True,
            "mke2fs",
            "apt-get install -y e2fsprogs",
        ),
        ("No such file: '/dev/loop-control'", True, "/dev/loop-control", "modprobe loop"),
    ],
    ids=["other namespace", "not root", "no tools", "no loop devices"],
)
def test_where_they_do_not_it_says_why(
    tmp_path: Path, trouble: str, sees_mounts: bool, why: str, fix: str
) -> None:
    found = _disk("backend.process", disks(tmp_path, trouble), sees_mounts=sees_mounts)
    assert (found.status, found.fix) == ("warn", fix)
    assert why in found.seen
    assert "watched" in found.seen


@pytest.mark.parametrize(
    ("backend", "detail", "fix"),
    [
        ("docker", "nothing listens on the Docker socket /x: the engine", "systemctl start docker"),
        ("docker", "there is no Docker socket at /x: install", "systemctl start docker"),
        ("docker", "this user may not open the Docker socket /x", "usermod -aG docker ann"),
        ("docker", "the engine knows no runtime 'runsc'; add it to its daemon.json", ""),
        ("process", "whatever", "trainbox plugins ls"),
    ],
    ids=["stopped", "not installed", "not allowed", "unknown runtime", "another backend"],
)
def test_a_backend_that_cannot_names_a_fix_that_fixes_it(
    monkeypatch: pytest.MonkeyPatch, backend: str, detail: str, fix: str
) -> None:
    monkeypatch.setenv("LOGNAME", "ann")
    assert _fix(backend, detail) == fix


def test_the_process_backend_leaves_its_disk_to_the_line_about_disks() -> None:
    """Alone it caps one file; with a disk of the daemon's it holds: one line says which."""
    made = promises({}, {}, {})
    assert {one.name: one.level for one in made}["disk"] is Level.PARTIAL
    assert "only in part: disk" not in summary(made)
    assert "disk: see its own line" in summary(made)
    assert "memory" in summary(made)
