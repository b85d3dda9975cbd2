"""What the kernel is asked for: loop devices (loop(4)), mounts (mount(2)), and who is mounted."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MS_NOSUID, MS_NODEV, MS_NOEXEC = 2, 4, 8
MNT_DETACH = 2
OPTIONS = b"noinit_itable,errors=remount-ro"
"""Of ext4(5): tables are not filled in behind a job's back, and a host disk that fails makes the
file system read-only."""

_LOOP_CONFIGURE = 0x4C0A  # linux/loop.h, since Linux 5.8
_LOOP_CTL_GET_FREE = 0x4C82
_LO_FLAGS_AUTOCLEAR = 4
_FITRIM = 0xC0185879  # linux/fs.h: _IOWR('X', 121, struct fstrim_range)
_LOOP_MAJOR = 7
_TRIES = 64
"""Free devices that others may take before us, one after the other."""
_ESCAPE = re.compile(r"\\([0-7]{3})")

_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432  # since Linux 5.2, on all machines
_CLOEXEC = 1  # of fsopen and fsmount
_SET_FLAG, _SET_STRING, _CMD_CREATE = 0, 1, 6  # enum fsconfig_command
_ATTRIBUTES = 2 | 4 | 8  # MOUNT_ATTR_NOSUID, _NODEV, _NOEXEC
_MOVE_EMPTY_PATH = 4  # MOVE_MOUNT_F_EMPTY_PATH
_AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Mount:
    """One line of ``/proc/self/mountinfo`` that shows a loop device.

    Attributes:
        point: where it is mounted.
        device: number of the loop device.
    """

    point: str
    device: int


def loop_mounts(under: Path) -> list[Mount]:
    """Return the mounts of loop devices directly under a directory."""
    prefix = f"{under}/"
    found = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        _, _, device, _, point, *_ = line.split(" ")
        major, _, minor = device.partition(":")
        place = _ESCAPE.sub(lambda code: chr(int(code[1], 8)), point)
        inside = place.startswith(prefix) and "/" not in place[len(prefix) :]
        if inside and int(major) == _LOOP_MAJOR:
            found.append(Mount(place, int(minor)))
    return found


def backing_file(device: int) -> str:
    """Return the path behind a loop device, or nothing where it has none now."""
    try:
        text = Path(f"/sys/block/loop{device}/loop/backing_file").read_text()
    except OSError:
        return ""
    return text.rstrip("\n")


def loop_devices_of(image: Path) -> list[int]:
    """Return the loop devices that are backed by an image, whoever has them mounted."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            if path.read_text().rstrip("\n") == str(image):
                found.append(int(path.parts[3].removeprefix("loop")))
        except OSError:
            continue  # let go while we looked
    return found


@contextmanager
def loop_device(image: Path) -> Iterator[int]:
    """Attach an image to a free loop device, which clears itself once nothing holds it.

    Held for as long as the context; a mount made meanwhile holds it from then on.

    Raises:
        OSError: no device can be had.
    """
    backing = os.open(image, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fd, number = _attach(backing, image)
    finally:
        os.close(backing)
    try:
        yield number
    finally:
        os.close(fd)


def _attach(backing: int, image: Path) -> tuple[int, int]:
    name = os.fsencode(image)[-63:]
    # struct loop_config: fd, block size, struct loop_info64 (flags and name set), reserved
    info = struct.pack(
        "=5Q4I64s64s32s2Q", 0, 0, 0, 0, 0, 0, 0, 0, _LO_FLAGS_AUTOCLEAR, name, b"", b"", 0, 0
    )
    config = struct.pack("=2I", backing, 0) + info + bytes(64)
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        for _ in range(_TRIES):
            number = fcntl.ioctl(control, _LOOP_CTL_GET_FREE)
            fd = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.ioctl(fd, _LOOP_CONFIGURE, config)
            except OSError as error:
                os.close(fd)
                if error.errno != errno.EBUSY:
                    raise
                continue  # someone else took it
            return fd, number
    finally:
        os.close(control)
    raise OSError(errno.EBUSY, "no loop device stays free")


def mount(device: int, point: Path) -> None:
    """Mount a loop device's ext4 file system, with no setuid files, devices or programs.

    Raises:
        OSError: as mount(2) has it.
    """
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    source = f"/dev/loop{device}".encode()
    if _libc.mount(source, os.fsencode(point), b"ext4", flags, OPTIONS):
        raise _error("mount", point)


def detached_mount(device: int) -> int:
    """Mount a loop device's file system as :func:`mount` does, at no place; return a descriptor.

    :func:`attach` gives it its place. Until then it ends with the descriptor, and so with us.

    Raises:
        OSError: as mount(2) has it, or this kernel cannot.
    """
    context = _syscall(_FSOPEN, b"ext4", _CLOEXEC)
    try:
        _syscall(_FSCONFIG, context, _SET_STRING, b"source", f"/dev/loop{device}".encode(), 0)
        for option in OPTIONS.split(b","):
            name, _, value = option.partition(b"=")
            command = _SET_STRING if value else _SET_FLAG
            _syscall(_FSCONFIG, context, command, name, value or None, 0)
        _syscall(_FSCONFIG, context, _CMD_CREATE, None, None, 0)
        return _syscall(_FSMOUNT, context, _CLOEXEC, _ATTRIBUTES)
    finally:
        os.close(context)


def attach(detached: int, point: Path) -> None:
    """Give a detached mount its place; the descriptor may be closed then.

    Raises:
        OSError: as move_mount(2) has it.
    """
    _syscall(_MOVE_MOUNT, detached, b"", _AT_FDCWD, os.fsencode(point), _MOVE_EMPTY_PATH)


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    result: int = _libc.syscall(
        number, *(ctypes.c_int(a) if isinstance(a, int) else a for a in arguments)
    )
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def unmount(point: Path) -> None:
    """Unmount; at once from sight where something still holds it, from the kernel later.

    Raises:
        OSError: as umount2(2) has it; nothing mounted there is EINVAL.
    """
    if _libc.umount2(os.fsencode(point), 0) == 0:
        return
    if ctypes.get_errno() != errno.EBUSY:
        raise _error("unmount", point)
    if _libc.umount2(os.fsencode(point), MNT_DETACH):
        raise _error("unmount", point)


def trim(point: Path) -> None:
    """Give what is free in a mounted file system back to the one that its image lies on."""
    fd = os.open(point, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.ioctl(fd, _FITRIM, struct.pack("=3Q", 0, 2**64 - 1, 0))
    finally:
        os.close(fd)


def _error(what: str, point: Path) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}", str(point))
