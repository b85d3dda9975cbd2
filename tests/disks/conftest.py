"""Disks need root, loop devices and e2fsprogs: a machine without fails here, and does not pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainbox.disks import Disks, DiskSize

SMALL = DiskSize(32 * 1024**2, 1024)


@pytest.fixture
def open_disks(tmp_path: Path) -> Iterator[Callable[..., Disks]]:
    """Open the disks of one state directory, as often as a daemon starts."""
    opened: list[Disks] = []

    def make(size: DiskSize = SMALL, ready: int = 1) -> Disks:
        disks = Disks(tmp_path / "disks", size, ready)
        disks.open()
        assert disks.trouble == ""
        opened.append(disks)
        return disks

    yield make
    for disks in opened:
        disks.close()
    for key in opened[-1].keys() if opened else ():
        opened[-1].discard(key)
