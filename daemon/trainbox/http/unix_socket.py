"""A Unix socket to listen on: bound aside and renamed, so that it is never open to too many."""

from __future__ import annotations

import errno
import grp
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from trainbox_sdk.errors import Unavailable

MODE = 0o660


@dataclass(frozen=True)
class UnixSocket:
    """Where to listen.

    Attributes:
        path: at most some 100 bytes (unix(7)); its folder must exist.
        group: who may connect beside the daemon's own user; empty leaves the folder's rule.
    """

    path: Path
    group: str = ""


def bind(wanted: UnixSocket) -> socket.socket:
    """Return a socket bound at the path; a dead daemon's is replaced.

    Raises:
        Unavailable: another process listens there, something else lies there, or the path or group
            cannot be.
    """
    path = wanted.path
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _require_free(path)
        aside.unlink(missing_ok=True)
        sock.bind(str(aside))
        if wanted.group:
            os.chown(aside, -1, grp.getgrnam(wanted.group).gr_gid)
        aside.chmod(MODE)
        sock.listen(socket.SOMAXCONN)
        sock.setblocking(False)
        aside.replace(path)
    except (OSError, KeyError) as error:
        sock.close()
        aside.unlink(missing_ok=True)
        raise _cannot(error, wanted) from error
    return sock


def unlink(path: Path, sock_inode: int) -> None:
    """Remove the socket's name, unless another daemon has taken it since."""
    try:
        if path.stat().st_ino == sock_inode:
            path.unlink()
    except FileNotFoundError:
        return


def _require_free(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_socket():
        raise OSError(errno.EEXIST, "something that is no socket lies there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return  # nobody listens: what a daemon that was killed leaves behind
    raise OSError(errno.EADDRINUSE, "another process listens there")


def _cannot(error: OSError | KeyError, wanted: UnixSocket) -> Unavailable:
    if isinstance(error, KeyError):
        why = f"there is no group {wanted.group!r}"
    else:
        why = error.strerror or str(error)
    return Unavailable(
        f"cannot listen on {wanted.path}: {why}",
        code="cannot_listen",
        hint="Choose another path with TRAINBOX_UNIX_SOCKET, in a folder the daemon may write to.",
    )
