"""What the self-test runs inside a sandbox: try to get out, and say what worked.

Runs in any Python, from its source text, with the standard library alone; prints one JSON object
in which True means "held".
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

_PR_GET_NO_NEW_PRIVS = 39
_PR_CAPBSET_READ = 23
_INIT_AND_STEP = 2
_AF_VSOCK = 40
_CLONE_NEWUSER = 0x1000_0000


def held(attempt: Callable[[], Any]) -> bool:
    """Whether the kernel refused."""
    try:
        attempt()
    except (OSError, AttributeError):
        return True
    return False


def capabilities() -> int:
    """Return the capabilities this process holds or could regain, as bits."""
    found = 0
    for number in range(64):
        found |= int(ctypes.CDLL(None).prctl(_PR_CAPBSET_READ, number, 0, 0, 0) == 1) << number
    header = (ctypes.c_uint32 * 2)(0x2008_0522, 0)
    data = (ctypes.c_uint32 * 6)()
    ctypes.CDLL(None).capget(header, data)
    return found | data[0] | data[1] | data[3] | data[4]


def main() -> None:
    """Attack what the arguments name: secret file, foreign directory, port, process, size."""
    secret, foreign = sys.argv[1], sys.argv[2]
    port, pid, tmp_bytes = (int(word) for word in sys.argv[3:6])
    libc = ctypes.CDLL(None)
    space = os.statvfs("/tmp")  # noqa: S108
    listed = sum(name.isdigit() for name in os.listdir("/proc"))  # noqa: PTH208

    def read() -> None:
        with open(secret, encoding="ascii"):  # noqa: PTH123
            pass

    def write() -> None:
        with open(os.path.join(foreign, "planted"), "w", encoding="ascii"):  # noqa: PTH118, PTH123
            pass

    def see() -> None:
        os.kill(pid, 0)

    def see_at_all() -> None:
        with contextlib.suppress(PermissionError):
            os.kill(pid, 0)

    findings = {
        "read": held(read),
        "write": held(write),
        "network": held(lambda: socket.create_connection(("127.0.0.1", port), 2)),
        "vsock": held(lambda: socket.socket(_AF_VSOCK, socket.SOCK_STREAM)),
        "user": os.getuid() != 0 and held(lambda: os.setuid(0)),
        "no_new_privs": libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1,
        "namespaces": libc.unshare(_CLONE_NEWUSER) != 0,
        "ptrace": libc.ptrace(0, 0, None, None) != 0,
        "signal": held(see),
        "hidden": held(see_at_all) and listed <= _INIT_AND_STEP,
        "tmp": space.f_blocks * space.f_frsize <= tmp_bytes,
        "capabilities": capabilities() == 0,
    }
    sys.stdout.write(json.dumps(findings) + "\n")


if __name__ == "__main__":
    main()
