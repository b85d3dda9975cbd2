"""Attacks on who the guest is."""

import resource
import subprocess

from attack_kit import *


def identity_of_power():
    with open("/proc/self/status") as file:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
    return {
        "uids": status["Uid"].split(),
        "gids": status["Gid"].split(),
        "groups": status["Groups"].split(),
        "caps": [
            status.get(name, "0" * 16).strip()
            for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
        ],
        "no_new_privs": status.get("NoNewPrivs", "unknown").strip(),
        "seccomp": status.get("Seccomp", "unknown").strip(),
    }


def become_root():
    return {
        "setuid": attempt(lambda: os.setuid(0)),
        "setgid": attempt(lambda: os.setgid(0)),
        "setgroups": attempt(lambda: os.setgroups([0])),
        "setresuid": attempt(lambda: os.setresuid(0, 0, 0)),
        "setfsuid": "ok" if libc.setfsuid(0) == 0 or libc.setfsuid(-1) == 0 else "EPERM",
    }


def setuid_programs():
    """Run everything setuid there is, and a setuid copy of our own; say who they were."""
    own = os.path.join(SCRATCH, "setuid-id")
    with open("/usr/bin/id", "rb") as source, open(own, "wb") as target:
        target.write(source.read())
    attempt(lambda: os.chmod(own, 0o6755))
    ran = {}
    for words in ([own, "-u"], ["su", "-c", "id -u"], ["passwd", "-S"], ["mount"]):
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=10
            )
            ran[os.path.basename(words[0])] = (
                done.stdout.strip()[:40] if words[-1] != "mount" else ""
            )
        except OSError as error:
            ran[os.path.basename(words[0])] = errno.errorcode[error.errno]
    return {"uid": str(os.getuid()), "ran": ran}


def regain_capabilities():
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    everything = (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
    return {
        "capset": syscall(126, header, everything),
        "ambient": call("prctl", 47, ctypes.c_ulong(2), ctypes.c_ulong(21), 0, 0),
        "securebits": call("prctl", 28, ctypes.c_ulong(0x10), 0, 0, 0),
    }


def undo_the_filter():
    return {
        "no_new_privs": call("prctl", 38, ctypes.c_ulong(0), 0, 0, 0),
        "seccomp_off": call("prctl", 22, ctypes.c_ulong(0), 0, 0, 0),
    }


def raise_own_limits():
    raised = {}
    for name in ("NOFILE", "FSIZE", "CORE", "MEMLOCK"):
        limit = getattr(resource, "RLIMIT_" + name)
        _, hard = resource.getrlimit(limit)
        if hard == resource.RLIM_INFINITY:
            raised[name] = "ok"
            continue
        try:
            resource.setrlimit(limit, (hard + 1, hard + 1))
        except (ValueError, OSError):
            raised[name] = "EPERM"
        else:
            raised[name] = "ok"
    return raised


def lower_oom_score():
    return attempt(lambda: write("/proc/self/oom_score_adj", "-500", "w"))


def take_priority():
    return {
        "nice": attempt(lambda: os.nice(-10)),
        "fifo": attempt(lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))),
        "io_realtime": syscall(251, 1, 0, (1 << 13) | 0),
    }


def lock_memory():
    """Pin more memory than is allowed, so that the kernel cannot take it back."""
    size = 8 * 1024 * 1024
    block = ctypes.create_string_buffer(size)
    return {"mlock": call("mlock", block, ctypes.c_size_t(size)), "mlockall": call("mlockall", 3)}
