"""What the doctor says of disks: what is in force, or why not and how to get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainbox.disks import Disks
from trainbox.doctor.sandboxes import _disk


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
