"""The directory of one sandbox that stands by, and the mounts through which its job's files come.

::

    <slot>/go      the gate: a FIFO that the sandbox waits on
    <slot>/root    bound on itself, shared; the sandbox sees it as /trainbox, read-only, as a slave
        in/code    the staged packages, mounted before the sandbox starts
        out/       the standby's own files, and a second name of the gate; the job's output covers
                   them

What is mounted below ``root`` while the sandbox runs appears inside (mount_namespaces(7)). Once the
job is there, ``root`` is made private and unmounted: the sandbox keeps what it has, and nothing
that is mounted on the host can reach it any more. Blocking; root alone can do it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from trainbox_guest import standby
from trainbox_guest.confine import syscalls

INSIDE = "/trainbox"
"""What ``root`` is called inside."""
STANDBY_INSIDE = f"{INSIDE}/out"
"""Where the standby's own files lie until the job's output covers them."""

_WRITABLE = syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV
_READ_ONLY = _WRITABLE | syscalls.MOUNT_ATTR_RDONLY
_ATTEMPTS = 5
_PIPE_BYTES = 4096
"""What every pipe has room for (pipe(7))."""
_LARGEST_PIPE_BYTES = 1024**2
"""What a pipe may be made without privileges; holds the largest environment there may be."""
_SET_PIPE_SIZE = 1031  # F_SETPIPE_SZ; the fcntl module has it from 3.10 on, typeshed not everywhere


@dataclass(frozen=True)
class Bind:
    """One path of the host and where the sandbox finds it."""

    source: str
    target: str
    read_only: bool


class NobodyWaits(Exception):
    """No process waits at the gate: it has had its job, or it is dead."""


class SlotDirectory:
    """One slot's directory on the host.

    Args:
        path: its own; made by :meth:`make`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root = path / "root"
        self._gate = path / standby.GATE

    def make(self, plan: Mapping[str, object], early: Iterable[Bind]) -> None:
        """Make it, ready to be bound into a sandbox.

        Args:
            plan: for the sandbox: the ``modules`` it imports, up to ``enough_bytes`` of memory, and
                ``patience_s``, how long it waits for a job before it ends by itself.
            early: what is there before any job is: the code.

        Raises:
            OSError: no room, or this kernel or this user cannot mount.
        """
        self.path.mkdir(mode=0o700, parents=True)
        own = self.root / "out"
        for folder in (self.root, self.root / "in", own, self.root / "scratch"):
            folder.mkdir(mode=0o755)
            folder.chmod(0o755)
        (self.root / "events.jsonl").touch()
        shutil.copyfile(standby.__file__, own / f"{standby.NAME}.py")
        (own / standby.PLAN).write_text(json.dumps(plan))
        os.mkfifo(self._gate)
        self._gate.chmod(
            0o666
        )  # nobody else gets through the slot's directory, whoever the guest is
        os.link(self._gate, own / standby.GATE)
        root = str(self.root)
        syscalls.mount(root, root, flags=syscalls.MS_BIND)
        # First private: on a host whose root is shared, the copy would belong to its group.
        syscalls.set_propagation(root, syscalls.MS_PRIVATE)
        syscalls.set_propagation(root, syscalls.MS_SHARED)
        self.attach(early)

    def attach(self, binds: Iterable[Bind]) -> None:
        """Mount what is not mounted yet; it appears in the sandbox with these very attributes.

        Raises:
            OSError: a source is not there, or the kernel refuses.
        """
        there = mount_points(self.root)
        for bind in sorted(binds, key=lambda each: each.target):
            target = self.root / bind.target.removeprefix(f"{INSIDE}/")
            if str(target) in there:
                continue
            if Path(bind.source).is_dir():
                target.mkdir(exist_ok=True)
            elif not target.exists():
                target.touch()
            attributes = _READ_ONLY if bind.read_only else _WRITABLE
            syscalls.attach_clone(bind.source, str(target), attributes)

    def waits(self) -> bool:
        """Whether a process waits at the gate."""
        try:
            os.close(os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK))
        except OSError:
            return False
        return True

    def send(self, variables: Mapping[str, str]) -> None:
        """Send the job's variables; whoever waits goes on with the first that come.

        Raises:
            NobodyWaits: nobody does.
        """
        line = json.dumps(dict(variables), ensure_ascii=False).encode() + b"\n"
        try:
            fd = os.open(self._gate, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno in {errno.ENXIO, errno.ENOENT}:
                raise NobodyWaits(str(self._gate)) from error
            raise
        try:
            if len(line) > _PIPE_BYTES:  # one write is to send all of it
                fcntl.fcntl(fd, _SET_PIPE_SIZE, _LARGEST_PIPE_BYTES)
            if os.write(fd, line) != len(line):
                raise OSError(errno.EMSGSIZE, f"{len(line)} bytes do not fit through {self._gate}")
        finally:
            os.close(fd)

    def unmount(self) -> None:
        """Take everything off the host; a sandbox keeps what it sees, and gets nothing more."""
        root = str(self.root)
        for _ in range(_ATTEMPTS):
            if root not in mount_points(self.path):
                return
            try:
                syscalls.set_propagation(root, syscalls.MS_PRIVATE)
                syscalls.umount_detached(root)
            except OSError as error:
                if error.errno != errno.EINVAL:  # no mount any more: another thread was faster
                    raise

    def delete(self) -> None:
        """Unmount and delete it, once its sandbox is gone.

        Not before: a file that is deleted takes along what is mounted on it in every other mount
        namespace, that of the sandbox included.

        Raises:
            OSError: something is still mounted; nothing was deleted then.
        """
        self.unmount()
        left = mount_points(self.path)
        if left:
            raise OSError(errno.EBUSY, f"still mounted: {', '.join(sorted(left))}")
        shutil.rmtree(self.path, ignore_errors=True)


def seen_by(pid: int, binds: Iterable[Bind]) -> bool:
    """Whether a process sees all of these where they should be."""
    try:
        points = _points(Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape"))
    except OSError:
        return False
    return points.issuperset(bind.target for bind in binds)


def mount_points(below: Path) -> set[str]:
    """Return the mount points at and below a directory, as this process sees them."""
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    top = str(below)
    return {point for point in _points(text) if point == top or point.startswith(f"{top}/")}


def _points(mountinfo: str) -> set[str]:
    """Read the fifth field of each line, whose odd characters are octal (proc(5))."""
    return {_plain(line.split(" ", 5)[4]) for line in mountinfo.splitlines()}


def _plain(field: str) -> str:
    head, *rest = field.split("\\")
    return head + "".join(chr(int(part[:3], 8)) + part[3:] for part in rest)
