"""One process per sandbox that outlives the daemon: starts the step, watches it, notes its end.

Started detached with ``STATE LOCK_FD READY_FD``; everything else stands in the state directory
(:mod:`trainbox_guest.shim.notes`). Standard library only.
"""

from __future__ import annotations

import os
import sys

from trainbox_guest.shim.watch import Watch


def main() -> None:
    """Detach from the daemon and see one sandbox through."""
    state, _lock, ready = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if os.fork():
        os._exit(0)  # the daemon collects this one; the shim belongs to init
    os.umask(0o077)
    os.chdir("/")
    Watch(state, ready).run()
