"""Limits, user and privileges of one process, in the order in which they can be given up."""

from __future__ import annotations

import os
import resource
from typing import TYPE_CHECKING

from trainbox_guest.confine import syscalls

if TYPE_CHECKING:
    from trainbox_guest.confine.policy import Policy


def close_files(keep: tuple[int, ...] = (0, 1, 2)) -> None:
    """Close every inherited descriptor but these; without /proc, which may be another's by now."""
    highest = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    bounds = [-1, *sorted(keep), highest]
    for before, after in zip(bounds[:-1], bounds[1:]):  # noqa: B905, RUF007 - Python 3.9
        if before + 1 < after:  # an empty range from 0 would mean "everything" to CPython
            os.closerange(before + 1, after)


def limit(policy: Policy) -> str:
    """Set the resource limits (getrlimit(2)); soft and hard alike, so they cannot be raised."""
    _set(resource.RLIMIT_CORE, 0)
    _set(resource.RLIMIT_NOFILE, policy.open_files)
    _set(resource.RLIMIT_FSIZE, policy.file_bytes)
    _set(resource.RLIMIT_MEMLOCK, 64 * 1024)
    if policy.processes is not None:
        _set(resource.RLIMIT_NPROC, policy.processes)
    if policy.address_bytes is not None:
        _set(resource.RLIMIT_AS, policy.address_bytes)
    if policy.cpu_s is not None:
        _set(resource.RLIMIT_CPU, policy.cpu_s)
    return f"rlimits: {policy.open_files} files, {policy.file_bytes} bytes per file, no core"


def _set(which: int, value: int) -> None:
    hard = resource.getrlimit(which)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(which, (value, value))


def become(uid: int | None) -> str:
    """Become an unprivileged user.

    Raises:
        OSError: this process is not root, or the user is not mapped here.
    """
    if os.geteuid() != 0:
        return f"uid {os.geteuid()}, the daemon's own"
    if not uid:
        raise PermissionError(1, "runs as root: no uid was given")
    syscalls.close_bounding_set()
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    return f"uid {uid}"


def give_up() -> str:
    """Drop every capability and the way back to any (PR_SET_NO_NEW_PRIVS)."""
    os.umask(0o077)
    syscalls.close_bounding_set()
    syscalls.clear_capabilities()
    syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)
    return "no capabilities, no_new_privs"


def die_with_parent() -> None:
    """Be killed when the parent dies; a change of user clears it, so set it again after one."""
    syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
