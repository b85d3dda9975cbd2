"""The system calls a sandbox may make: an allow-list kept as data in ``seccomp.json``.

Narrower than engines' own default profiles, which let io_uring, ptrace and AF_VSOCK through before
version 25. A call of another architecture kills the process, which closes the 32-bit side door.
"""

from __future__ import annotations

import json
from importlib import resources

from trainbox_plugins.docker_backend.config import Config


def profile(config: Config) -> str:
    """Return the profile's JSON for the Engine API, empty for the engine's own default.

    Raises:
        OSError: the admin's profile cannot be read.
        ValueError: it is not JSON.
    """
    if config.seccomp_profile == "engine":
        return ""
    if config.seccomp_profile == "own":
        text = resources.files(__package__).joinpath("seccomp.json").read_text(encoding="utf-8")
    else:
        text = config.seccomp_profile.read_text(encoding="utf-8")
    return json.dumps(json.loads(text), separators=(",", ":"))
