"""From the shim to the step: two forks, one set of namespaces, then no way back.

::

    shim (outside, watches)
     └─ gate      in new namespaces; waits, passes the exit code on
         └─ init  PID 1 of the step's PID namespace: when it dies, all die with it
             └─ step  confined, unprivileged, replaced by the command
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
from typing import TYPE_CHECKING, NoReturn

from trainbox_guest import confine
from trainbox_guest.confine import privileges

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from trainbox_guest.shim.notes import Task

_OOM_SCORE = 500
"""The host's own out-of-memory killer takes steps before daemons."""

_NICE = 5
EXIT_NOT_STARTED = 127


def launch(task: Task, output_fd: int, status_fd: int, cgroup_files: list[str]) -> int:
    """Fork the gate and return its process id.

    Args:
        task: what to run.
        output_fd: becomes stdout and stderr.
        status_fd: gets one JSON line: ``{"applied": …, "missing": …}`` right before the command
            starts, or ``{"error": …}``; closed by the start.
        cgroup_files: ``cgroup.procs`` files to enter.
    """
    pid = os.fork()
    if not pid:
        _guarded(lambda: _gate(task, output_fd, status_fd, cgroup_files), status_fd)
    return pid


def _guarded(run: Callable[[], NoReturn], status_fd: int) -> NoReturn:
    """Never let a forked copy of the shim return into the shim's own loop."""
    try:
        run()
    except BaseException as error:  # noqa: BLE001 - told to the daemon; this copy ends here
        told = json.dumps({"error": f"{error}"})
        try:
            os.write(status_fd, told.encode() + b"\n")
        finally:
            os._exit(EXIT_NOT_STARTED)


def _gate(task: Task, output_fd: int, status_fd: int, cgroup_files: list[str]) -> NoReturn:
    privileges.die_with_parent()
    os.setsid()
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # only init passes it on
    _own_streams(output_fd)
    privileges.close_files(keep=(0, 1, 2, status_fd))
    _enter_groups(cgroup_files)
    _settle(task)
    report = confine.Report()
    may_change_user = confine.isolate(task.policy, report, pid=True)
    if not may_change_user:
        report.missing[confine.USER] = "in a user namespace there is no other user to become"
    init = os.fork()
    if not init:
        _guarded(lambda: _init(task, status_fd, report), status_fd)
    privileges.close_files(keep=(0,))
    os._exit(_code(os.waitpid(init, 0)[1]))


def _init(task: Task, status_fd: int, report: confine.Report) -> NoReturn:
    privileges.die_with_parent()
    alone = os.getpid() == 1
    confine.enter_view(task.policy, report, proc=alone)
    step = os.fork()
    if not step:
        _guarded(lambda: _step(task, status_fd, report), status_fd)

    def forward(number: int, frame: FrameType | None) -> None:
        del frame
        os.killpg(step, number)

    signal.signal(signal.SIGTERM, forward)
    privileges.close_files(keep=(0,))
    while (ended := os.wait()) and ended[0] != step:
        pass
    os._exit(_code(ended[1]))


def _step(task: Task, status_fd: int, report: confine.Report) -> NoReturn:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    policy = task.policy
    layers = tuple(layer for layer in policy.layers if layer not in report.missing)
    confine.harden(_with_layers(policy, layers), report)
    privileges.die_with_parent()
    os.chdir(task.cwd)
    told = json.dumps({"applied": report.applied, "missing": report.missing})
    os.write(status_fd, told.encode() + b"\n")
    os.execve(task.argv[0], task.argv, task.env)  # noqa: S606 - no shell is the point


def _with_layers(policy: confine.Policy, layers: tuple[str, ...]) -> confine.Policy:
    return confine.Policy(**{**policy.__dict__, "layers": layers})


def _own_streams(output_fd: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(output_fd, 1)
    os.dup2(output_fd, 2)


def _enter_groups(files: list[str]) -> None:
    for path in files:
        with open(path, "w", encoding="ascii") as file:
            file.write("0")


def _settle(task: Task) -> None:
    """Stand behind the daemon for cores and turns, and before it when memory runs out."""
    cores = sorted(os.sched_getaffinity(0))
    wanted = max(1, -int(-task.cpus // 1))
    if wanted < len(cores):
        first = os.getpid() % len(cores)
        os.sched_setaffinity(0, {cores[(first + i) % len(cores)] for i in range(wanted)})
    os.nice(_NICE)
    with (
        contextlib.suppress(OSError),  # a host that forbids even this loses only a preference
        open("/proc/self/oom_score_adj", "w", encoding="ascii") as file,
    ):
        file.write(str(_OOM_SCORE))


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
