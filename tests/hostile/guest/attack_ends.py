"""Attacks on the end: to live on, to take others along, to lie about how it was."""

import subprocess

from attack_kit import *


def ignored_signals():
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            continue
    ready()
    while True:
        time.sleep(60)


def fork_at_every_signal():
    """SIGTERM makes more of them."""
    signal.signal(signal.SIGTERM, lambda number, frame: os.fork())
    ready()
    while True:
        time.sleep(1)


def stopped_processes():
    ready()
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


def survivor_of_a_double_fork():
    beats = os.path.join(SCRATCH, "heartbeat")
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for stream in (0, 1, 2):
                os.close(stream)
            while True:
                write(beats, "beat")
                time.sleep(0.01)
        os._exit(0)
    os.wait()
    while not os.path.exists(beats):
        time.sleep(0.01)


def kill_everything():
    if os.fork() == 0:
        time.sleep(60)
    os.kill(-1, signal.SIGKILL)
    os.wait()
    leave("alive", "yes")


def kill_init():
    for number in (signal.SIGKILL, signal.SIGSTOP):
        attempt(lambda: os.kill(1, number))
    time.sleep(0.05)
    with open("/proc/1/stat") as file:
        return file.read().rsplit(")", 1)[1].split()[0]


def frozen_init():
    """Init stopped under a tracer cannot report the end."""
    leave("answer", syscall(101, 16, 1, 0, 0))


def init_rewritten():
    """Init runs as the same user: turn its code into an endless loop, so that no end is reported."""
    try:
        with open("/proc/1/maps") as table:
            code = next(line for line in table if " r-xp " in line)
        first, last = (int(part, 16) for part in code.split()[0].split("-"))
        with open("/proc/1/mem", "r+b", buffering=0) as memory:
            memory.seek(first)
            memory.write(b"\xeb\xfe" * ((last - first) // 2))
    except OSError as error:
        print("init cannot be written:", error, flush=True)
    ready()


def end_that_looks_like_a_kill_for_memory():
    os.kill(os.getpid(), signal.SIGKILL)


def end_by_an_illegal_instruction():
    subprocess.run(
        [sys.executable, "-c", "import ctypes; ctypes.string_at(0)"], capture_output=True
    )
    ctypes.string_at(0)
