"""Landlock: the kernel's own file sandbox for processes without privileges (landlock(7))."""

from __future__ import annotations

import ctypes
import os
import stat
from typing import TYPE_CHECKING

from trainbox_guest.confine import syscalls

if TYPE_CHECKING:
    from collections.abc import Iterable

_CREATE_RULESET = 444
_ADD_RULE = 445
_RESTRICT_SELF = 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH = 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK, REFER, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 13, 1 << 14, 1 << 15
_ALL_V1 = (1 << 13) - 1
_ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_READ = EXECUTE | READ_FILE | READ_DIR
_NET_TCP = 3  # bind and connect
_SCOPE_ALL = 3  # abstract UNIX sockets and signals
_ABI_REFER, _ABI_TRUNCATE, _ABI_NET, _ABI_IOCTL, _ABI_SCOPE = 2, 3, 4, 5, 6


class _RulesetAttr(ctypes.Structure):
    _fields_ = [
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    ]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def abi() -> int:
    """Return the kernel's Landlock version.

    Raises:
        OSError: not built in, or switched off.
    """
    return syscalls.syscall(
        _CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_VERSION_FLAG), name="landlock"
    )


def restrict(read: Iterable[str], write: Iterable[str], *, tcp: bool) -> str:
    """Allow only these trees from now on, and say what is in force.

    Needs no_new_privs. Holds for this thread and all it starts.

    Args:
        read: readable and executable.
        write: readable and writable.
        tcp: whether TCP stays allowed; False needs Linux 6.7 and is skipped below it.

    Raises:
        OSError: no Landlock here.
    """
    version = abi()
    handled = _handled(version)
    ruleset = _create(version, handled, tcp=tcp)
    try:
        for path in read:
            _allow(ruleset, path, _READ & handled)
        for path in write:
            _allow(ruleset, path, handled & ~(EXECUTE | MAKE_CHAR | MAKE_BLOCK))
        syscalls.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0), name="landlock")
    finally:
        os.close(ruleset)
    return f"Landlock ABI {version}: only listed paths open"


def _handled(version: int) -> int:
    handled = _ALL_V1
    if version >= _ABI_REFER:
        handled |= REFER
    if version >= _ABI_TRUNCATE:
        handled |= TRUNCATE
    if version >= _ABI_IOCTL:
        handled |= IOCTL_DEV
    return handled


def _create(version: int, handled: int, *, tcp: bool) -> int:
    attr = _RulesetAttr(handled_access_fs=handled)
    size = 8
    if version >= _ABI_NET:
        attr.handled_access_net, size = (0 if tcp else _NET_TCP), 16
    if version >= _ABI_SCOPE:
        attr.scoped, size = _SCOPE_ALL, 24
    return syscalls.syscall(
        _CREATE_RULESET,
        ctypes.byref(attr),
        ctypes.c_size_t(size),
        ctypes.c_uint(0),
        name="landlock",
    )


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            access &= _ON_FILES
        rule = _PathBeneath(allowed_access=access, parent_fd=fd)
        syscalls.syscall(
            _ADD_RULE,
            ctypes.c_int(ruleset),
            ctypes.c_int(_RULE_PATH_BENEATH),
            ctypes.byref(rule),
            ctypes.c_uint(0),
            name=f"landlock rule for {path}",
        )
    finally:
        os.close(fd)
