"""Whether disks work here, found out by filling one; and whether one is full."""

from __future__ import annotations

import errno
import os
import secrets
import subprocess
from contextlib import suppress
from pathlib import Path

from trainbox.disks import kernel
from trainbox.disks.images import MIB, DiskSize, format_image

TRIAL = DiskSize(8 * MIB, 256)
LEFT_PART = 100
LEFT_BYTES = 4 * MIB
"""A file system with less than this part or these bytes free is full: ext4 keeps blocks back for
its own tables, and takes or refuses up to two megabytes of one write at once."""


def fullness(place: Path) -> str:
    """Say what a file system has run out of; nothing where it has room."""
    try:
        facts = os.statvfs(place)
    except OSError:
        return ""
    size = f"{facts.f_blocks * facts.f_frsize / MIB:.0f} MiB"
    left = facts.f_bavail * facts.f_frsize
    if left < LEFT_BYTES or facts.f_bavail * LEFT_PART < facts.f_blocks:
        return f"its disk of {size} is full"
    if facts.f_favail == 0:
        return f"its disk holds no further file: {facts.f_files} are allowed"
    return ""


def trouble_at(root: Path) -> str:
    """Return why no disk can be had under a directory, by trying; empty where one held."""
    if os.geteuid() != 0:
        return "the daemon is not root, so it cannot mount one"
    image = root / f"spare-trial-{secrets.token_hex(4)}.img"
    point = image.with_suffix("")
    try:
        point.mkdir()
        format_image(image, TRIAL)
        with kernel.loop_device(image) as device:
            kernel.mount(device, point)
        return _hold(point)
    except (OSError, subprocess.SubprocessError) as error:
        return f"a trial failed: {error}"
    finally:
        with suppress(OSError):
            kernel.unmount(point)
        image.unlink(missing_ok=True)
        with suppress(OSError):
            point.rmdir()


def _hold(point: Path) -> str:
    """Return what is wrong with a disk that should not take more than its size."""
    with (point / "trial").open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, TRIAL.bytes)
        except OSError as error:
            return "" if error.errno == errno.ENOSPC else f"a trial failed: {error}"
    return "a trial disk took more than its size"
