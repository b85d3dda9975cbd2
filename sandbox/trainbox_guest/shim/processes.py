"""The processes of one step, seen from outside: who they are, what they use, how they die."""

from __future__ import annotations

import os
import signal

_PAGE = os.sysconf("SC_PAGE_SIZE")


def descendants(root: int) -> list[int]:
    """Return ``root`` and everything below it, threads left out (proc(5), task/*/children)."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += _children(pid)
    return found


def count(pids: list[int]) -> int:
    """Return how many processes and threads these are."""
    total = 0
    for pid in pids:
        try:
            total += len(os.listdir(f"/proc/{pid}/task"))
        except OSError:
            continue
    return total


def of_user(uid: int | None) -> list[int]:
    """Return the processes of a user; None is our own."""
    wanted = os.geteuid() if uid is None else uid
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                owner = os.stat(f"/proc/{name}").st_uid
            except OSError:
                continue
            if owner == wanted:
                found.append(int(name))
    return found


def memory(pids: list[int], limit: int) -> int:
    """Return the bytes of memory these processes hold.

    Resident pages first, which count a shared page once per process; only where that passes
    ``limit`` the kernel is asked for the exact, slower figure (smaps_rollup, Pss).
    """
    resident = sum(_resident(pid) for pid in pids)
    return resident if resident <= limit else sum(_proportional(pid) for pid in pids)


def kill_all(root: int) -> None:
    """SIGKILL a process and all below it; the root first, so that nothing is started anew."""
    for pid in descendants(root):
        signal_quietly(pid, signal.SIGKILL)


def signal_quietly(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def reap_all() -> None:
    """Kill and collect whatever was handed to us as subreaper, until nothing is left."""
    me = os.getpid()
    while True:
        for pid in descendants(me)[1:]:
            signal_quietly(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _children(pid: int) -> list[int]:
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    found = []
    for task in tasks:
        text = _read(f"/proc/{pid}/task/{task}/children")
        found += [int(word) for word in text.split()]
    return found


def _resident(pid: int) -> int:
    words = _read(f"/proc/{pid}/statm").split()
    return int(words[1]) * _PAGE if len(words) > 1 else 0


def _proportional(pid: int) -> int:
    for line in _read(f"/proc/{pid}/smaps_rollup").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return _resident(pid)


def _read(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            return file.read()
    except OSError:  # the process is gone
        return ""
