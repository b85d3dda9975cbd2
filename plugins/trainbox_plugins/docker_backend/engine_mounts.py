"""Whether the engine sees a file system that this daemon mounts."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path

_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid
_DEADLINE_S = 2.0


def engine_sees_mounts(socket_url: str) -> bool:
    """Whether the process behind a Unix socket has this process's mount namespace.

    A bind mount is made from what the engine sees. A daemon in a container, or one that a service
    manager gave a view of its own, mounts where the engine finds an empty directory: a sandbox
    would then write beside the file system that was to hold it. Not known counts as no.

    Under socket activation the kernel names the service manager, which opened the socket and whose
    view an engine started by it keeps (unix(7), ``SO_PEERCRED``).

    Args:
        socket_url: ``unix:///path``.
    """
    try:
        theirs = Path(f"/proc/{_listener(socket_url)}/ns/mnt").stat()
        return os.path.samestat(theirs, Path("/proc/self/ns/mnt").stat())
    except OSError:  # away, in another PID namespace (its id is 0 here), or another user's
        return False


def _listener(socket_url: str) -> int:
    """Return the id of the process that listens on a Unix socket, as this PID namespace has it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_DEADLINE_S)
        client.connect(socket_url.removeprefix("unix://"))
        answer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    pid: int = _PEER.unpack(answer)[0]
    return pid
