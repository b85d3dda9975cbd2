"""What an admin may set for the process backend, in ``[plugin.config]`` of ``plugins.toml``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from trainbox_plugins.environments.cache import default_cache_dir


def default_index_dir() -> Path:
    """Return where the list of sandboxes lives: beside the daemon's state, not in a cache."""
    for name in ("TRAINBOX_STATE_DIR", "STATE_DIRECTORY"):
        given = os.environ.get(name)
        if given:
            return Path(given.split(":")[0]) / "process"
    home = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "trainbox" / "process"


def default_wheelhouse() -> Path | None:
    """Return TRAINBOX_WHEELHOUSE, a directory of wheels for hosts without a package index."""
    given = os.environ.get("TRAINBOX_WHEELHOUSE")
    return Path(given) if given else None


class Config(BaseModel):
    """Settings of the process backend.

    Attributes:
        cpus: cores to give out; None for all this process may use.
        memory_bytes: memory to give out; None for the host's, less ``reserve_memory_bytes``.
        reserve_memory_bytes: what stays for the daemon and the system.
        allow_untrusted: run a stranger's script too, with whatever this host confines.
        uid: user and group id of the steps where the daemon is root.
        cgroups: use control groups where this process can make them.
        pythons: ``X.Y`` to an interpreter, where the host's own choice is not wanted.
        cache_dir: wheels and venvs; safe to delete while nothing runs.
        index_dir: the list of sandboxes, by which a restarted daemon finds them.
        wheelhouse: directory of wheels to install from instead of a package index.
        output_entries: most files and directories a step may leave.
        log_flood_bytes: output beyond which a step is killed; less is cut to its log limit.
        log_bytes_per_s, log_lines_per_s: faster output loses whole lines, which a line tells of.
        log_burst_s: how many seconds' worth of that may come at once.
        start_deadline_s: how long a start may take, in seconds.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpus: Annotated[float, Field(gt=0)] | None = None
    memory_bytes: Annotated[int, Field(gt=0)] | None = None
    reserve_memory_bytes: Annotated[int, Field(ge=0)] = 1024**3
    allow_untrusted: bool = False
    uid: Annotated[int, Field(ge=1, le=2**31 - 1)] = 10001
    cgroups: bool = True
    pythons: dict[str, str] = Field(default_factory=dict)
    cache_dir: Path = Field(default_factory=default_cache_dir)
    index_dir: Path = Field(default_factory=default_index_dir)
    wheelhouse: Path | None = Field(default_factory=default_wheelhouse)
    output_entries: Annotated[int, Field(gt=0)] = 100_000
    log_flood_bytes: Annotated[int, Field(gt=0)] = 64 * 1024**2
    log_bytes_per_s: Annotated[float, Field(gt=0)] = 1024**2
    log_lines_per_s: Annotated[float, Field(gt=0)] = 10_000
    log_burst_s: Annotated[float, Field(ge=1)] = 30.0
    start_deadline_s: Annotated[float, Field(gt=0)] = 60.0
