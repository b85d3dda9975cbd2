"""Make a step's files fit for the user it runs as; nothing of the step is alive yet.

Only the tops of directories are touched and no link is followed: a scratch directory may hold
whatever an earlier attempt left in it (a chown that followed a link was CVE-2024-28189).
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING

from trainbox_plugins.process_backend.task import data_name
from trainbox_sdk.errors import BackendRejected

if TYPE_CHECKING:
    from pathlib import Path

    from trainbox_plugins.process_backend.index import Sandbox
    from trainbox_sdk.backends import SandboxSpec

_INPUT_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def hand_over(spec: SandboxSpec, sandbox: Sandbox, uid: int | None) -> None:
    """Link the inputs, and give the step's user what it writes and what it reads.

    Args:
        spec: whose paths.
        sandbox: gets the folder of links.
        uid: the user the step becomes; None where it stays who we are.

    Raises:
        BackendRejected: a path is missing, of the wrong kind, or closed to that user.
    """
    paths = spec.paths
    for path, directory in ((paths.output, True), (paths.scratch, True), (paths.events, False)):
        _give(path, uid, directory=directory)
    given = [paths.spec, paths.code, *paths.inputs.values()]
    given += [paths.dataset] if paths.dataset is not None else []
    for path in given:
        _open_to(path, uid)
    _link_inputs(spec, sandbox)


def _link_inputs(spec: SandboxSpec, sandbox: Sandbox) -> None:
    folder = sandbox.inputs / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    for made in (sandbox.home, sandbox.inputs, folder):
        made.chmod(0o755)
    links = {folder / name: path for name, path in spec.paths.inputs.items()}
    for name in spec.paths.inputs:
        if not _INPUT_NAME.fullmatch(name):
            raise BackendRejected(f"input name {name!r} is not a plain file name")
    if spec.paths.dataset is not None:
        links[sandbox.inputs / data_name(spec)] = spec.paths.dataset
    for link, path in links.items():
        link.unlink(missing_ok=True)
        link.symlink_to(path)


def _give(path: Path, uid: int | None, *, directory: bool) -> None:
    fd = _open(path, os.O_RDONLY | (os.O_DIRECTORY if directory else 0))
    try:
        info = os.fstat(fd)
        if not directory and not stat.S_ISREG(info.st_mode):
            raise BackendRejected(f"{path} is not a regular file")
        if uid is not None and (info.st_uid, info.st_gid) != (uid, uid):
            os.fchown(fd, uid, uid)
    finally:
        os.close(fd)


def _open_to(path: Path, uid: int | None) -> None:
    """Let the step's group read it; a data file keeps its owner and stays closed to others."""
    fd = _open(path, os.O_RDONLY)
    try:
        info = os.fstat(fd)
        if uid is None or _readable(info, uid):
            return
        if not stat.S_ISREG(info.st_mode):
            raise BackendRejected(
                f"{path} is closed to the step's user {uid}", hint="give the directory mode 0755"
            )
        os.fchown(fd, -1, uid)
        os.fchmod(fd, stat.S_IMODE(info.st_mode) | stat.S_IRGRP)
    finally:
        os.close(fd)


def _readable(info: os.stat_result, uid: int) -> bool:
    shift = 6 if info.st_uid == uid else 3 if info.st_gid == uid else 0
    wanted = 0o5 if stat.S_ISDIR(info.st_mode) else 0o4
    return (stat.S_IMODE(info.st_mode) >> shift) & wanted == wanted


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BackendRejected(f"{path} cannot be given to the step: {error.strerror}") from error
