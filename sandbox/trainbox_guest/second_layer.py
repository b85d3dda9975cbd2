"""The guest's own system call filter, put on before any of the step's code is loaded.

A second layer where the engine's profile is not ours: filters add up, so this one can only take
rights away, whatever the engine or the runtime did. Under a millisecond, and nothing where it is
not asked for.
"""

from __future__ import annotations

import os

ENV_FILTER = "TRAINBOX_FILTER"
"""Set to ``1`` by a backend that wants the filter; no request can set it."""


def put_on() -> str:
    """Filter this process and all it starts, where the backend asked for it; say what was done.

    Raises:
        OSError: asked for, and this kernel has no filters: the step must not run.
    """
    if os.environ.get(ENV_FILTER) != "1":
        return ""
    # Imported only where it is used: a sandbox that needs none starts without ctypes.
    from trainbox_guest.confine import seccomp

    return seccomp.install(internet=True)
