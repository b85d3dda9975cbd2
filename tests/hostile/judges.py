"""How the outcome of single attacks is read; each returns what broke, or nothing."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from attack import REFUSALS, Outcome, denied, refused, words
from trainbox_guest.shim.disk import disk_use
from trainbox_sdk.backends import Cause
from trainbox_sdk.testing.guest_programs import CONTRACT_VARIABLES, HARMLESS_VARIABLES

SIGSYS = 31
KILLED = 128 + 9
NO_CAPABILITY = "0" * 16


def broken(found: dict[str, Any], **expected: Any) -> dict[str, Any]:
    """Return what is not as expected."""
    return {name: found.get(name) for name, value in expected.items() if found.get(name) != value}


# --- privileges


def identity(run: Outcome) -> object:
    found = run.answer
    return {
        **broken(found, caps=[NO_CAPABILITY] * 5),
        **{name: ids for name in ("uids", "gids") if "0" in (ids := found[name])},
        **({"groups": found["groups"]} if "0" in found["groups"] else {}),
        # gVisor keeps these two to itself; where the kernel tells them, they are on.
        **({"no_new_privs": "0"} if found["no_new_privs"] == "0" else {}),
        **({"seccomp": "0"} if found["seccomp"] == "0" else {}),
    }


def setuid(run: Outcome) -> object:
    """Nothing that ran was anybody else."""
    harmless = {run.answer["uid"], "", *REFUSALS}
    return {
        name: told
        for name, told in run.answer["ran"].items()
        if told not in harmless and name != "passwd"
    }


def lock(run: Outcome) -> object:
    return {name: word for name, word in run.answer.items() if word not in {"ENOMEM", "EPERM"}}


def killed_or_denied(run: Outcome) -> object:
    """The filter kills for a call of another table, or the kernel has none."""
    found = words(run.answer)
    if set(found) == {"killed"}:
        return {} if found["killed"] in {SIGSYS, 11} else found  # 11: a kernel without int 0x80
    # Raw return values of int 0x80: an errno below zero. A kernel without the 32-bit table, such as
    # gVisor's, reads the number in its own: 20 is writev there, of a closed descriptor.
    return {name: value for name, value in found.items() if value not in {-38, -1, -9}}


# --- the network


def route(run: Outcome) -> object:
    found = run.answer
    unreached = {"ENETUNREACH", "EHOSTUNREACH", "EACCES", "EPERM"}
    return {
        **broken(found, routes=[]),
        **({} if set(found["interfaces"]) <= {"lo"} else {"interfaces": found["interfaces"]}),
        **{n: found[n] for n in ("metadata", "documentation") if found[n] not in unreached},
    }


def listeners(run: Outcome) -> object:
    heard: list[str] = run.told["heard"]()
    return {**({"heard": heard} if heard else {}), **(refused(run) or {})}  # type: ignore[dict-item]


# --- what can be seen


def processes(run: Outcome) -> object:
    """Only its own; the daemon's process id means nothing inside."""
    ours = ("trainbox_guest", "/sbin/docker-init", "?")
    strange = [line for line in run.answer["seen"] if line and not any(o in line for o in ours)]
    signalled = {} if run.answer["signal"] in {"ESRCH", "EPERM"} else {"signal": "ok"}
    return {**({"seen": strange} if strange else {}), **signalled}


def environment(run: Outcome) -> object:
    strange = set(run.answer["names"]) - CONTRACT_VARIABLES - HARMLESS_VARIABLES - ALSO_HARMLESS
    return {"names": sorted(strange)} if strange else {}


ALSO_HARMLESS = {"TRAINBOX_INPUTS", "TRAINBOX_FILTER"}


def own_environment(run: Outcome) -> object:
    strange = set(run.answer) - CONTRACT_VARIABLES - HARMLESS_VARIABLES - ALSO_HARMLESS
    return {"names": sorted(strange)} if strange else {}


def mounts(run: Outcome) -> object:
    return broken(run.answer, neighbours=False) or ({} if run.answer["lines"] else {"lines": 0})


def leaks(run: Outcome) -> object:
    inside = ("/trainbox", "/dev/", "socket:", "anon_inode:", "/tmp", "/usr", "/opt")
    ours = (*inside, *(str(p) for p in (run.spec.paths.output.parent,)))
    leaked = {n: t for n, t in run.answer["open"].items() if not t.startswith(ours)}
    up = {} if run.answer["up"] in REFUSALS else {"up": run.answer["up"]}
    return {**leaked, **up}


def child(run: Outcome) -> object:
    same = run.answer["child"] in {run.answer["uid"], ""}
    return {} if same else run.answer


def python_variables(run: Outcome) -> object:
    found = run.answer
    if found is None:
        return {"the step": "did not run", "log": run.log[-300:]}
    wrong = found["planted"] or "scratch" in found["PYTHONPATH"] or found["PYTHONSAFEPATH"] != "1"
    return found if wrong else {}


# --- amounts


def beyond(run: Outcome) -> object:
    ended = run.answer["answer"] in (
        {"killed": 25},
        {"crashed": "OSError: [Errno 27] File too large"},
    )
    return {} if ended and run.answer["beyond"] <= 0 else run.answer


def segments(run: Outcome) -> object:
    """On the host there is none of that key."""
    rows = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    keys = {int(row.split()[0]) & 0xFFFFFFFF for row in rows}
    return {"left on the host": True} if run.told["own_key"] in keys else {}


def killed(run: Outcome) -> object:
    """The kernel ended it at its limit; that the cause is told is the conformance suite's matter."""
    return {} if run.seen.exit_code == KILLED else {"seen": run.seen}


def kernel_buffers(run: Outcome) -> object:
    """They count as its memory: it is cut short, or killed for them."""
    if run.answer is None:
        return killed(run)
    cut_short = run.answer["ended"] != "ok" and run.answer["bytes"] <= run.spec.limits.memory_bytes
    return {} if cut_short else run.answer


def child_bomb(run: Outcome) -> object:
    """Whoever died was told of; a step that lives on ends with its own code."""
    seen = run.seen
    if seen.exit_code == 0 and seen.cause is Cause.NONE:
        return {} if "memory limit" in seen.detail else {"detail": seen.detail}
    return {} if seen.cause is Cause.OUT_OF_MEMORY else {"cause": seen.cause}


def cpu(run: Outcome) -> object:
    """One core was given; a quota lets a first period pass.

    A whole one: without cgroups a sandbox is kept to cores, not to a part of one.
    """
    used = float((run.output / "cpu").read_text())
    seen = run.seen
    if seen.cpu_s is not None and seen.started_at is not None and seen.finished_at is not None:
        # What the host counted; a kernel of the sandbox's own may tell the guest anything.
        used = min(used, seen.cpu_s / (seen.finished_at - seen.started_at).total_seconds())
    return {} if used <= 1.3 else {"cores": round(used, 2)}


def disk(run: Outcome) -> object:
    """What is on the disk is no more than was given, and a run that was cut short says so."""
    limits, most = run.spec.limits, run.told["most_entries"]
    taken_bytes, entries = _taken(run)
    if taken_bytes > limits.output_bytes or entries > most:
        return {"bytes": taken_bytes, "entries": entries}
    cut_short = run.seen.cause is Cause.DISK_LIMIT or run.seen.exit_code or run.spec.disk_is_sized
    return {} if cut_short else {"cause": run.seen.cause, "entries": entries}


def _taken(run: Outcome) -> tuple[int, int]:
    """Ask the file system where it is the sandbox's own; walk where it is not."""
    paths = run.spec.paths
    if run.spec.disk_is_sized:
        told = os.statvfs(paths.output)
        return (told.f_blocks - told.f_bfree) * told.f_frsize, told.f_files - told.f_ffree
    roots = (paths.output, paths.scratch, paths.events)
    kept = disk_use(roots, limit_bytes=2**62, limit_entries=10**7)
    return kept.bytes, kept.entries


def log(run: Outcome) -> object:
    size = run.spec.paths.log.stat().st_size
    if size > run.spec.limits.log_bytes + 4096:
        return {"bytes": size}
    return {} if run.seen.cause is Cause.LOG_LIMIT else {"cause": run.seen.cause}


def escapes(run: Outcome) -> object:
    """Bytes are kept as they came: it is the reader's door that takes their teeth."""
    kept = run.spec.paths.log.read_bytes()
    return {} if b"\x1b]0;owned\x07" in kept and b"\xff\xfe\x00" in kept else {"log": kept[:200]}


# --- ends


def init_lives(run: Outcome) -> object:
    return {} if run.answer in {"S", "R"} else {"init": run.answer}


def stopped(run: Outcome) -> object:
    return {} if run.seen.exit_code in {137, 143} else {"exit_code": run.seen.exit_code}


def silence(run: Outcome) -> object:
    """Nothing beats any more."""
    beats = run.spec.paths.scratch / "heartbeat"
    size = beats.stat().st_size
    time.sleep(0.2)
    return {} if beats.stat().st_size == size > 0 else {"heartbeat": "beats on"}


def dead(run: Outcome) -> object:
    """However it ended, it ended: by itself, or by the host's kill."""
    return {} if run.seen.exit_code is not None else {"exit_code": None}


def unharmed(run: Outcome) -> object:
    alive = (run.output / "alive").exists()
    return {} if (alive, run.seen.exit_code) == (True, 0) else {"exit_code": run.seen.exit_code}


def unfrozen(run: Outcome) -> object:
    answer = (run.output / "answer").read_text()
    return {} if answer != "ok" and run.seen.exit_code == 0 else {"answer": answer}


def plain_137(run: Outcome) -> object:
    seen = (run.seen.exit_code, run.seen.cause)
    return {} if seen == (137, Cause.NONE) else {"seen": seen}


def crashed(run: Outcome) -> object:
    cores = [path.name for path in run.spec.paths.scratch.iterdir() if "core" in path.name]
    ended = run.seen.exit_code == 139 and run.seen.cause is Cause.NONE
    return {} if ended and not cores else {"exit_code": run.seen.exit_code, "cores": cores}


# --- outputs


def collected(run: Outcome) -> object:
    """Only what is a plain file with one name is taken; the secret stays where it is."""
    taken = set(run.told["collected"])
    links = {"symlink", "folder", "hardlink", "file", "fifo", "socket", "closed", "device"}
    return {
        **({"taken": sorted(taken & links)} if taken & links else {}),
        **({} if Path(run.told["secret"]).read_text() == "untouched" else {"secret": "changed"}),
        **({} if run.seen.exit_code == 0 else {"log": run.log[-300:]}),
    }


def no_marker(run: Outcome) -> object:
    """The side effect of a bomb that went off, anywhere."""
    marker = Path(run.told["marker"])
    went_off = {"marker": str(marker)} if marker.exists() else {}
    return {**went_off, **({} if run.told["collected"] else {"collected": "nothing"})}


def grown(run: Outcome) -> object:
    path = run.output / "model.onnx"
    size = path.stat().st_size
    time.sleep(0.1)
    return (
        {}
        if path.stat().st_size == size == run.told["collected"].get("model.onnx")
        else {"size": size}
    )


# --- standby


def no_channel(run: Outcome) -> object:
    return [item for item in run.answer if item[1] == "ok"]


def silence_of_mount(run: Outcome) -> object:
    """Nothing holds the directory any more: no process has it open."""
    holders = []
    folder = os.fspath(run.output)
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.readlink(f"/proc/{name}/cwd").startswith(folder):
                    holders.append(name)
            except OSError:
                continue
    return {"holders": holders} if holders else {}


__all__ = ["denied", "refused"]
