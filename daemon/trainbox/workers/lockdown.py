"""What a worker takes from itself before it looks at a single hostile byte."""

from __future__ import annotations

import resource
from pathlib import Path

import trainbox
import trainbox_guest
from trainbox_guest import confine
from trainbox_guest.confine import privileges

CGROUPS = "/sys/fs/cgroup"
"""DuckDB 2.0 looks for a processor quota there, and aborts if it may see the files but not open
them, as under Landlock alone."""

REQUIRED = (confine.LIMITS, confine.PRIVILEGES)
"""Layers every Linux gives; a worker that lacks one of them does not start."""


def lock_down(
    *,
    write: tuple[Path, ...],
    data_bytes: int,
    file_bytes: int,
    open_files: int,
    cpu_s: int | None,
    read: tuple[Path, ...] = (),
    layers: tuple[str, ...] = confine.LAYERS,
) -> confine.Report:
    """Confine this process, which must still have one thread: call it before heavy imports.

    Network, files, privileges and system calls go as far as the host allows; the report says how
    far. Memory is held by RLIMIT_DATA (setrlimit(2)), not RLIMIT_AS: what counts is memory that can
    be written, not the sparse address space that allocators and thread stacks reserve.

    Args:
        write: trees it may write.
        data_bytes: writable memory.
        file_bytes: largest file it may write.
        open_files: descriptors.
        cpu_s: processor seconds; None for a worker without an end.
        read: files and trees it may read beside Python's own.
        layers: which of the confinement's layers to try.

    Raises:
        confine.ConfinementError: a layer of :data:`REQUIRED` does not hold.
    """
    privileges.die_with_parent()
    packages = (Path(package.__file__ or "").parent for package in (trainbox, trainbox_guest))
    extra = [CGROUPS] if Path(CGROUPS).exists() else []
    policy = confine.Policy(
        read=(*confine.python_paths(), *map(str, packages), *map(str, read), *extra),
        write=tuple(map(str, write)),
        tmp_bytes=1024**2,
        shm_bytes=1024**2,
        open_files=open_files,
        file_bytes=file_bytes,
        layers=layers,
        require=REQUIRED,
    )
    report = confine.apply(policy)
    resource.setrlimit(resource.RLIMIT_DATA, (data_bytes, data_bytes))
    if cpu_s is not None:
        # The soft limit's SIGXCPU says why the worker died; SIGKILL would not.
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 5))
    return report
