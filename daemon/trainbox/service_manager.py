"""Talk to the service manager that started the daemon."""

from __future__ import annotations

import os
import socket


def notify(state: str) -> None:
    """Tell the service manager (sdnotify(3)); nothing happens without one."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.connect("\0" + address[1:] if address.startswith("@") else address)
        sock.sendall(state.encode())
