"""Confine the calling process for good: best available means, honest report.

Standard library only, so that it runs in any interpreter. A worker confines itself first thing::

    report = confine.apply(confine.Policy(read=(*confine.python_paths(), model), uid=10001))

Order matters: the process must still have one thread, so call it before NumPy and its like are
imported. What the host does not offer is in ``report.missing``; ``Policy.require`` makes it an
error instead.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from trainbox_guest.confine import landlock, privileges, seccomp, syscalls, view
from trainbox_guest.confine.policy import (
    FILES,
    LANDLOCK,
    LAYERS,
    LIMITS,
    NETWORK,
    PRIVILEGES,
    SYSCALLS,
    USER,
    ConfinementError,
    Policy,
    Report,
)
from trainbox_guest.confine.view import python_paths, system_paths

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "FILES",
    "LANDLOCK",
    "LAYERS",
    "LIMITS",
    "NETWORK",
    "PRIVILEGES",
    "SYSCALLS",
    "USER",
    "ConfinementError",
    "Policy",
    "Report",
    "apply",
    "enter_view",
    "harden",
    "isolate",
    "python_paths",
    "system_paths",
]

_NAMESPACES = syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS


def apply(policy: Policy) -> Report:
    """Confine this process, which keeps running; there is no way back.

    Raises:
        ConfinementError: a required layer does not hold, or the process has other threads.
    """
    if len(os.listdir("/proc/self/task")) > 1:
        raise ConfinementError("confine before the first thread starts: only one can be confined")
    report = Report()
    isolate(policy, report)
    enter_view(policy, report, proc=False)
    harden(policy, report)
    return report


def isolate(policy: Policy, report: Report, *, pid: bool = False) -> bool:
    """Leave the host's network and mounts, without yet changing the root.

    Args:
        policy: with :data:`NETWORK` and :data:`FILES` among its layers, or nothing is done.
        report: filled in.
        pid: also put the children (not this process) into a PID namespace.

    Returns:
        Whether the process still may become another user: not from inside a user namespace.
    """
    flags = syscalls.CLONE_NEWNET if NETWORK in policy.layers else 0
    flags |= _NAMESPACES if FILES in policy.layers else 0
    if not flags:
        return True
    before = os.geteuid()
    how = _attempt(NETWORK, report, lambda: view.leave(flags | pid * syscalls.CLONE_NEWPID))
    if how and flags & syscalls.CLONE_NEWNET:
        view.loopback_up()
        report.applied[NETWORK] = f"network namespace with loopback only ({how})"
    return before != 0 or how != "user namespace"


def enter_view(policy: Policy, report: Report, *, proc: bool) -> None:
    """Take a root that holds only the policy's paths, where :func:`isolate` made it possible.

    Args:
        policy: its paths.
        report: filled in.
        proc: this process is in a PID namespace of its own and gets a fresh ``/proc``.

    Raises:
        ConfinementError: it broke half way, so nothing may run in what is left.
    """
    if FILES not in policy.layers:
        return
    if not report.holds(NETWORK):
        report.missing[FILES] = report.missing.get(NETWORK, "no namespaces")
        return
    try:
        report.applied[FILES] = view.enter(policy, proc=proc)
    except OSError as error:
        raise ConfinementError(f"the sandbox's own root could not be made: {error}") from error


def harden(policy: Policy, report: Report) -> None:
    """Apply what needs no namespace: limits, user, privileges, Landlock, system call filter.

    Raises:
        ConfinementError: a layer of ``policy.require`` does not hold.
    """
    private = report.holds(NETWORK)
    read = (*system_paths(), *view.DEVICES, "/proc", *policy.read)
    write = (*view.DEVICES, *policy.write)
    if report.holds(FILES):
        read += ("/etc",)
        write += ("/tmp", "/dev/shm")
    steps: dict[str, Callable[[], str]] = {
        LIMITS: lambda: privileges.limit(policy),
        USER: lambda: privileges.become(policy.uid),
        PRIVILEGES: privileges.give_up,
        LANDLOCK: lambda: landlock.restrict(read, write, tcp=private),
        SYSCALLS: lambda: seccomp.install(internet=private),
    }
    for layer, step in steps.items():
        if layer in policy.layers:
            _layer(layer, policy, report, step)
    _require(policy, report)


def _layer(layer: str, policy: Policy, report: Report, step: Callable[[], str]) -> None:
    if layer in policy.layers:
        _attempt(layer, report, step)


def _attempt(layer: str, report: Report, step: Callable[[], str]) -> str:
    try:
        how = step()
    except OSError as error:
        report.missing[layer] = f"{error.strerror or error}"
        return ""
    report.applied[layer] = how
    return how


def _require(policy: Policy, report: Report) -> None:
    lacking = [layer for layer in policy.require if not report.holds(layer)]
    if lacking:
        reasons = "; ".join(
            f"{layer}: {report.missing.get(layer, 'not tried')}" for layer in lacking
        )
        raise ConfinementError(
            f"this host does not confine {reasons} (Python {sys.version_info[:2]})"
        )
