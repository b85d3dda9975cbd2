"""Images of ext4 file systems: formatted ahead, mended after a crash."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MIB = 1024**2
GIB = 1024**3
BLOCK = 4096
BYTES_PER_INODE = 16384
"""An inode's entry takes 256 bytes of the image: at most a sixty-fourth of it are entries."""
MEND_S = 600.0
_SEARCH = "/usr/sbin:/sbin:/usr/bin:/bin"
_FIXED = 2
"""Exit codes of e2fsck(8) up to this one leave a file system that can be mounted."""


@dataclass(frozen=True)
class DiskSize:
    """How much a disk holds.

    Attributes:
        bytes: of the image; some of it is the file system's own.
        inodes: files, directories and links together; fewer on an image too small for as many.
    """

    bytes: int = 4 * GIB
    inodes: int = 65536

    @property
    def files(self) -> int:
        """How many inodes an image of this size is made with."""
        return min(self.inodes, max(64, self.bytes // BYTES_PER_INODE))

    def __str__(self) -> str:
        """Say it in words."""
        size = self.bytes
        text = f"{size / GIB:g} GiB" if size % (GIB // 4) == 0 else f"{size / MIB:g} MiB"
        return f"ext4 image of {text}, {self.files} files"


def tool(name: str) -> str:
    """Return the path of a program of e2fsprogs.

    Raises:
        FileNotFoundError: it is not installed.
    """
    found = shutil.which(name, path=_SEARCH)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed (Debian: e2fsprogs)")
    return found


def format_image(path: Path, size: DiskSize) -> None:
    """Make a sparse file that holds an empty file system; its top directory is root's.

    Without a journal, which protects what nobody keeps over a crash, and without blocks that are
    kept for root. Tables are not written ahead, so that an empty one takes two megabytes.

    Raises:
        OSError: mke2fs(8) is missing or fails, or there is no room.
    """
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(fd, size.bytes)
    finally:
        os.close(fd)
    extended = "lazy_itable_init=1,nodiscard,root_owner=0:0"
    words = f"-q -F -t ext4 -O ^has_journal,^resize_inode -m 0 -b {BLOCK} -N {size.files}".split()
    made = subprocess.run(
        [tool("mke2fs"), *words, "-E", extended, str(path)],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if made.returncode != 0:
        raise OSError(f"mke2fs: {made.stderr.strip()[-300:]}")


def mend_image(path: Path) -> bool:
    """Return whether an image that nothing has mounted can be mounted, mending what a crash left.

    Raises:
        OSError: e2fsck(8) cannot be run.
    """
    checked = subprocess.run(
        [tool("e2fsck"), "-p", str(path)],
        check=False,
        capture_output=True,
        stdin=subprocess.DEVNULL,
        timeout=MEND_S,
    )
    return checked.returncode <= _FIXED
