"""Watch one step: its memory, its disk, its output, its time; write down how it ended."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import resource
import selectors
import signal
import time
from typing import TYPE_CHECKING

from trainbox_guest.confine import cgroups, syscalls
from trainbox_guest.shim import launch, notes, processes
from trainbox_guest.shim.disk import disk_use
from trainbox_guest.shim.log_rate import LogRate
from trainbox_guest.shim.output import Output

if TYPE_CHECKING:
    from types import FrameType

_TICK_S = 0.1
_DISK_SHARE = 0.05
"""Part of the time that may go into walking the output tree."""
_DISK_TICK_S = 0.25
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_ROOM_S = 1.0
_LATE_S = 5.0
"""How long after the deadline and its grace the shim steps in for a daemon that did not."""

OUT_OF_MEMORY = "out_of_memory"
DISK_LIMIT = "disk_limit"
LOG_LIMIT = "log_limit"
START_FAILED = "start_failed"
LOST = "lost"

MEMORY, PIDS, CPU = "memory", "pids", "cpu"
"""Names under which the note about the confinement tells which limits a control group holds."""
_KILLED = 128 + signal.SIGKILL
_FILE_TOO_LARGE = 128 + signal.SIGXFSZ


class Watch:
    """The life of one sandbox, from the fork to the exit note.

    Args:
        state: directory of the notes.
        ready_fd: closed once the step runs or has failed to.
    """

    def __init__(self, state: str, ready_fd: int) -> None:
        self._state = state
        self._ready_fd = ready_fd
        self._task = notes.Task.read(state)
        self._started_at = time.time()
        # A deadline that was over before the start is the engine's business alone.
        deadline_at = max(self._task.deadline_at, self._started_at)
        self._late_at = deadline_at + self._task.grace_s + _LATE_S
        self._cause = ""
        self._detail = ""
        self._peak = 0
        self._gate = 0
        self._code: int | None = None
        self._kill_at: float | None = None
        self._next_disk = 0.0
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> None:
        """See it through."""
        syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
        self._listen()
        groups = self._groups()
        running = notes.Running(os.getpid(), self._started_at, list(groups.directories))
        notes.write(self._state, notes.RUNNING, running)
        rate = LogRate(*self._task.log_rate) if self._task.log_rate else None
        output = Output(self._task.log, self._task.log_bytes, rate)
        try:
            self._start(output, groups)
            self._loop(output)
            processes.reap_all()
            output.finish()
            self._detail = self._detail or output.trouble
        except Exception as error:  # noqa: BLE001 - a shim's own fault must not look like success
            self._fail(f"the shim failed: {type(error).__name__}: {error}")
            processes.reap_all()
        self._memory_verdict(groups)
        cgroups.remove(groups.directories)
        self._write_exit()

    # --- start

    def _groups(self) -> cgroups.Groups:
        task = self._task
        if not task.cgroup:
            return cgroups.Groups()
        return cgroups.create(
            task.cgroup, memory_bytes=task.memory_bytes, pids=task.pids, cpus=task.cpus
        )

    def _start(self, output: Output, groups: cgroups.Groups) -> None:
        task = self._task
        if not groups.pids:
            used = processes.count(processes.of_user(task.policy.uid))
            policy = dataclasses.replace(task.policy, processes=task.pids + used)
            task = dataclasses.replace(task, policy=policy)
        status_read, status_write = os.pipe()
        self._gate = launch.launch(task, output.write_end, status_write, groups.entries)
        os.close(status_write)
        output.started()
        self._read_status(status_read, groups)
        os.close(self._ready_fd)

    def _read_status(self, fd: int, groups: cgroups.Groups) -> None:
        """Read what the step's process says until its command starts, which closes the pipe."""
        with os.fdopen(fd, encoding="utf-8") as told:
            for line in told:
                said = json.loads(line)
                if "error" in said:
                    self._cause, self._detail = START_FAILED, str(said["error"])
                else:
                    kinds = ((MEMORY, groups.memory), (PIDS, groups.pids), (CPU, groups.cpu))
                    said["applied"] |= {kind: "control group" for kind, path in kinds if path}
                    notes.write(self._state, notes.CONFINED, notes.Confined(**said))

    # --- while it runs

    def _loop(self, output: Output) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(output.pipe, selectors.EVENT_READ)
            selector.register(self._wake_read, selectors.EVENT_READ)
            while not self._ended():
                for key, _ in selector.select(_TICK_S):
                    if key.fd == self._wake_read:
                        os.read(self._wake_read, 64)
                    elif not output.pump():
                        selector.unregister(output.pipe)
                self._check_output(output)
                self._check_memory()
                self._check_disk()
                self._check_time()

    def _ended(self) -> bool:
        pid, status = os.waitpid(self._gate, os.WNOHANG)
        while pid == 0 and self._stray():
            pass
        if pid == 0:
            return False
        code = os.waitstatus_to_exitcode(status)
        self._code = code if code >= 0 else 128 - code
        return True

    def _stray(self) -> bool:
        """Collect one process that was handed to us; without a PID namespace they come here."""
        info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if info is None or info.si_pid in (0, self._gate):
            return False
        os.waitpid(info.si_pid, 0)
        return True

    def _check_output(self, output: Output) -> None:
        if output.seen > self._task.flood_bytes:
            self._kill(LOG_LIMIT, f"wrote {output.seen} bytes of output and went on")

    def _check_memory(self) -> None:
        limit = self._task.memory_bytes
        used = processes.memory(processes.descendants(self._gate), limit)
        self._peak = max(self._peak, used)
        if used > limit:
            self._kill(OUT_OF_MEMORY, f"used {used} bytes of memory, the limit is {limit}")

    def _check_disk(self) -> None:
        now = time.monotonic()
        if now < self._next_disk:
            return
        task = self._task
        use = disk_use(
            task.watched, limit_bytes=task.output_bytes, limit_entries=task.output_entries
        )
        spent = time.monotonic() - now
        self._next_disk = now + max(_DISK_TICK_S, spent / _DISK_SHARE)
        if not use.whole:
            self._kill(
                DISK_LIMIT,
                f"wrote {use.bytes} bytes in {use.entries} files or more, the limits are "
                f"{task.output_bytes} and {task.output_entries}",
            )

    def _check_time(self) -> None:
        if time.time() > self._late_at:
            self._detail = self._detail or "stopped at its wall-clock limit"
            self._stop(self._task.grace_s)
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            processes.kill_all(self._gate)

    # --- how it ends

    def _listen(self) -> None:
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGCHLD, _wake)
        for number in (signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)

    def _on_term(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        asked = notes.read(self._state, notes.STOP) or {}
        self._stop(float(asked.get("grace_s", self._task.grace_s)))

    def _stop(self, grace_s: float) -> None:
        """SIGTERM to the step now, SIGKILL to all of it after the grace."""
        kill_at = time.monotonic() + grace_s
        if self._kill_at is None:
            for init in processes.descendants(self._gate)[1:2]:
                processes.signal_quietly(init, signal.SIGTERM)
            self._kill_at = kill_at
        self._kill_at = min(self._kill_at, kill_at)

    def _kill(self, cause: str, detail: str) -> None:
        if not self._cause:
            self._cause, self._detail = cause, detail
        processes.kill_all(self._gate)

    def _fail(self, detail: str) -> None:
        """End for a fault of the host: what the step would have come to is lost."""
        self._cause, self._detail = LOST if self._gate else START_FAILED, detail
        self._code = None

    def _memory_verdict(self, groups: cgroups.Groups) -> None:
        """Say what the kernel's own kills mean; 137 alone never means anything."""
        kernel_peak = groups.peak_bytes() if groups.memory else None
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
        self._peak = max(self._peak, kernel_peak or largest)
        if groups.memory and groups.oom_kills() and not self._cause:
            if self._code == _KILLED:
                self._cause = OUT_OF_MEMORY
                self._detail = "the kernel killed it at its memory limit"
            else:
                self._detail = "the kernel killed a process of it at its memory limit"
        if self._code == _FILE_TOO_LARGE and not self._cause:
            self._cause, self._detail = DISK_LIMIT, "wrote a file over the limit for one file"

    def _write_exit(self) -> None:
        started = self._cause != START_FAILED
        note = notes.Exit(
            exit_code=self._code if started else None,
            cause=self._cause,
            detail=self._detail,
            started_at=self._started_at if started else None,
            finished_at=time.time(),
            peak_memory_bytes=self._peak if started else None,
        )
        while True:
            try:
                return notes.write(self._state, notes.EXIT, note)
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                time.sleep(_NO_ROOM_S)  # without the note, what the step has done would be lost


def _wake(number: int, frame: FrameType | None) -> None:
    """Do nothing: that there is a handler makes the wake-up descriptor readable."""
    del number, frame
