"""What this backend promises on this host: read off the engine's own report, never assumed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_host import filters_inside, id_shift
from trainbox_plugins.docker_backend.policy import GVISOR, Confinement
from trainbox_sdk.backends import Level, Promise


def promises(info: Mapping[str, Any], config: Config, user: Confinement) -> tuple[Promise, ...]:
    """Return the promises for one engine.

    Args:
        info: answer of ``GET /info`` (Engine API v1.41, ``SystemInfo``).
        config: the admin's settings.
        user: who the guest is.
    """
    version = f"cgroup v{info.get('CgroupVersion') or 1}"
    return (
        Promise("network", Level.ENFORCED, "a network namespace of its own with no interface"),
        _counted("memory", info, ("MemoryLimit", "SwapLimit"), f"{version}, no swap"),
        _counted("cpu", info, ("CpuCfsQuota",), f"{version} quota"),
        _pids(info, config, version),
        Promise("root", Level.ENFORCED, "read-only root; writable are output, scratch, /tmp"),
        _user(info, user),
        Promise("capabilities", Level.ENFORCED, "none, and none to be regained"),
        Promise("privileges", Level.ENFORCED, "no-new-privileges: setuid files give nothing"),
        _seccomp(info, config),
        _runtime(info, config),
        Promise(
            "disk",
            Level.PARTIAL,
            "one file is capped by the kernel; the sum is measured every "
            f"{config.disk_poll_s:g} s, and a burst between two looks passes",
        ),
        Promise("log", Level.ENFORCED, "cut to its limit; a flood ends the sandbox"),
        Promise("environment", Level.ENFORCED, "only the contract's variables"),
        Promise("processes", Level.ENFORCED, "a PID namespace: all die with the sandbox"),
    )


def _counted(name: str, info: Mapping[str, Any], keys: Sequence[str], how: str) -> Promise:
    missing = [key for key in keys if not info.get(key)]
    if not missing:
        return Promise(name, Level.ENFORCED, how)
    level = Level.PARTIAL if len(missing) < len(keys) else Level.NONE
    return Promise(name, level, f"the engine's kernel lacks {', '.join(missing)}")


def _pids(info: Mapping[str, Any], config: Config, version: str) -> Promise:
    if GVISOR in (config.runtime or ""):
        how = "counted with gVisor's own: a bomb ends the sandbox instead of being refused"
        return Promise("pids", Level.PARTIAL, how)
    return _counted("pids", info, ("PidsLimit",), version)


def _user(info: Mapping[str, Any], user: Confinement) -> Promise:
    if user.uid == 0:
        return Promise("user", Level.NONE, "root: set sandbox_uid")
    how, shift = f"runs as {user.uid}:{user.gid}", id_shift(info)
    if shift is not None and shift.uid:
        how += f", on the host {user.uid + shift.uid}:{user.gid + shift.gid} (userns-remap)"
    return Promise("user", Level.ENFORCED, how)


def _runtime(info: Mapping[str, Any], config: Config) -> Promise:
    name = config.runtime or str(info.get("DefaultRuntime") or "the engine's default")
    if GVISOR in name:
        return Promise("runtime", Level.ENFORCED, f"{name}: gVisor, a kernel of the sandbox's own")
    return Promise("runtime", Level.ENFORCED, f"{name}: containers on the host's own kernel")


def _seccomp(info: Mapping[str, Any], config: Config) -> Promise:
    options = [str(option) for option in info.get("SecurityOptions") or ()]
    seccomp = next((option for option in options if "name=seccomp" in option), None)
    if seccomp is None:
        return Promise("seccomp", Level.NONE, "the engine was built or started without seccomp")
    if GVISOR in (config.runtime or ""):
        return Promise("seccomp", Level.ENFORCED, f"gVisor's own, and {_INSIDE}")
    second = f"; {_INSIDE}" if filters_inside(config) else ""
    if config.seccomp_profile == "own":
        return Promise(
            "seccomp", Level.ENFORCED, f"an allow-list of what training code needs{second}"
        )
    if config.seccomp_profile != "engine":
        how = f"the admin's profile {config.seccomp_profile}{second}"
        return Promise("seccomp", Level.ENFORCED, how)
    if "unconfined" in seccomp:
        how = f"the engine's default profile is unconfined; alone {_INSIDE}"
        return Promise("seccomp", Level.PARTIAL, how)
    gaps = ""
    if _major(info) < _IO_URING_BLOCKED:
        gaps = ", whose gaps before version 25 (io_uring, ptrace, AF_VSOCK) the second layer closes"
    return Promise("seccomp", Level.ENFORCED, f"the engine's default profile{gaps}{second}")


_INSIDE = "a second filter that the guest puts on from inside"
_IO_URING_BLOCKED = 25
"""First engine whose default profile blocks io_uring (moby#46762) and AF_VSOCK (moby#44562)."""


def _major(info: Mapping[str, Any]) -> int:
    head = str(info.get("ServerVersion") or "0").partition(".")[0]
    return int(head) if head.isdigit() else 0
