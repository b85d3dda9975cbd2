"""``python -m trainbox.cli.bound PID …``: the command line, told to end when its starter has died.

The last resort for a starter that is killed and can stop nothing itself.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from trainbox.cli.root import main

PR_SET_PDEATHSIG = 1
"""prctl(2): the signal this process gets when its parent ends."""


def bind(parent: int) -> None:
    """Ask for SIGTERM at the parent's end; leave at once where it has ended already."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        sys.exit(0)


if __name__ == "__main__":
    bind(int(sys.argv[1]))
    main(sys.argv[2:])
