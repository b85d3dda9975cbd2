"""Talk to the service manager that started the daemon: sd_notify(3), sd_listen_fds(3), watchdog.

The protocols are a datagram, two variables and an interval; systemd's own manual pages recommend
implementing them without its library.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

FIRST_FD = 3
"""SD_LISTEN_FDS_START: descriptors handed over begin after stderr."""


@dataclass(frozen=True)
class HandedSocket:
    """A listening socket that the service manager opened, with the name its unit gives it."""

    name: str
    socket: socket.socket


def notify(state: str) -> None:
    """Tell the service manager (sdnotify(3)); nothing happens without one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(state.encode())


def notify_status(text: str) -> None:
    """Say in one line what the daemon is at, for ``systemctl status``."""
    notify("STATUS=" + text.replace("\n", " "))


def notify_reloading() -> None:
    """Say that configuration is being read again; ``READY=1`` must follow."""
    notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def watchdog_s() -> float | None:
    """Return the seconds after which silence gets the daemon killed; None where nobody watches."""
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    given = os.environ.get("WATCHDOG_USEC", "")
    return int(given) / 1e6 if given.isdigit() and int(given) > 0 else None


def feed_watchdog() -> None:
    """Say that the daemon lives."""
    notify("WATCHDOG=1")


def take_sockets() -> Sequence[HandedSocket]:
    """Take over the sockets handed to this process; none the second time.

    The variables are removed, so that no child believes the sockets are its own.
    """
    pid = os.environ.pop("LISTEN_PID", "")
    count = os.environ.pop("LISTEN_FDS", "")
    names = os.environ.pop("LISTEN_FDNAMES", "").split(":")
    if pid != str(os.getpid()) or not count.isdigit():
        return ()
    return tuple(
        _take(FIRST_FD + n, names[n] if n < len(names) else "unknown") for n in range(int(count))
    )


def _take(fd: int, name: str) -> HandedSocket:
    os.set_inheritable(fd, False)
    taken = socket.socket(fileno=fd)
    taken.setblocking(False)
    return HandedSocket(name, taken)
