"""Make a step's host paths fit for the guest: writable where it may write, readable elsewhere.

Runs before the sandbox exists, so nothing hostile is alive in these directories; still only their
tops are touched, and never through a link: what lies in a scratch directory an earlier attempt
wrote (a chown that followed a link was CVE-2024-28189).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from trainbox_sdk.backends import Paths
from trainbox_sdk.errors import BackendRejected


def fit_for_guest(paths: Paths, uid: int | None, gid: int | None) -> None:
    """Give the writable paths to the guest and make sure that it can read the others.

    Args:
        paths: of the step.
        uid: who the guest is; None where it stays who we are, and has what we have.
        gid: likewise.

    Raises:
        BackendRejected: a path is missing, of the wrong kind, or closed to the guest.
    """
    for path, directory in ((paths.output, True), (paths.scratch, True), (paths.events, False)):
        _hand_over(path, uid, gid, directory=directory)
    for path in given_paths(paths):
        _open_to_guest(path, uid, gid)


def given_paths(paths: Paths) -> tuple[Path, ...]:
    """Return what the guest reads and never writes."""
    dataset = () if paths.dataset is None else (paths.dataset,)
    inputs = () if paths.inputs is None else (paths.inputs, *sorted(paths.inputs.rglob("*")))
    return (paths.spec, paths.code, *inputs, *dataset)


def _hand_over(path: Path, uid: int | None, gid: int | None, *, directory: bool) -> None:
    fd = _open(path, os.O_RDONLY | (os.O_DIRECTORY if directory else 0))
    try:
        info = os.fstat(fd)
        if not directory and not stat.S_ISREG(info.st_mode):
            raise BackendRejected(f"{path} is not a regular file")
        if uid is None or gid is None or os.geteuid() != 0:
            return
        if (info.st_uid, info.st_gid) != (uid, gid):
            os.fchown(fd, uid, gid)
    finally:
        os.close(fd)


def _open_to_guest(path: Path, uid: int | None, gid: int | None) -> None:
    """Let the guest's group read it; a data file keeps its owner, and its mode closed to others."""
    fd = _open(path, os.O_RDONLY)
    try:
        info = os.fstat(fd)
        if uid is None or gid is None or _readable(info, uid, gid):
            return
        if os.geteuid() != 0 or not stat.S_ISREG(info.st_mode):
            raise BackendRejected(
                f"{path} is closed to the sandbox's user {uid}:{gid}",
                hint="give it mode 0644 (a file) or 0755 (a directory)",
            )
        os.fchown(fd, -1, gid)
        os.fchmod(fd, stat.S_IMODE(info.st_mode) | stat.S_IRGRP)
    finally:
        os.close(fd)


def _readable(info: os.stat_result, uid: int, gid: int) -> bool:
    """Whether the mode lets that user read it, and enter it where it is a directory."""
    shift = 6 if info.st_uid == uid else 3 if info.st_gid == gid else 0
    wanted = 0o5 if stat.S_ISDIR(info.st_mode) else 0o4
    return (stat.S_IMODE(info.st_mode) >> shift) & wanted == wanted


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BackendRejected(f"{path} cannot be given to the sandbox: {error.strerror}") from error
