"""What follows from the engine's host: the budget, who the guest is, whether it can run at all."""

from __future__ import annotations

import os
import platform
import re
from base64 import b64encode
from dataclasses import dataclass

from trainbox_guest.confine.seccomp import packed
from trainbox_plugins.docker_backend import seccomp
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_port import Json
from trainbox_plugins.docker_backend.policy import Confinement
from trainbox_sdk.backends import Capacity


def capacity_of(config: Config, info: Json) -> Capacity:
    """A reserve never takes more than half of a small host."""
    host_cpus, host_memory = float(info["NCPU"]), int(info["MemTotal"])
    return Capacity(
        cpus=config.cpus or max(host_cpus / 2, host_cpus - config.reserve_cpus),
        memory_bytes=config.memory_bytes
        or max(host_memory // 2, host_memory - config.reserve_memory_bytes),
        gpus=len(config.gpu_devices),
    )


def confinement_of(config: Config) -> Confinement:
    """A daemon that is not root runs guests as itself, so that both can write the directories."""
    root = os.geteuid() == 0
    return Confinement(
        uid=config.sandbox_uid if root else os.getuid(),
        gid=config.sandbox_gid if root else os.getgid(),
        seccomp=seccomp.profile(config),
        runtime=config.runtime or "",
        cgroup_parent=config.cgroup_parent or "",
        filter_inside=_filter() if filters_inside(config) else "",
    )


@dataclass(frozen=True)
class IdShift:
    """What the engine adds to a guest's ids: who 10001 inside is on the host."""

    uid: int = 0
    gid: int = 0


def id_shift(info: Json) -> IdShift | None:
    """Read an engine's mapping of user ids; None where it maps and does not say how.

    With ``userns-remap`` the engine keeps all it has under a directory named for its root's host
    ids (``/var/lib/docker/<uid>.<gid>``), which is how its API tells them.
    """
    if "name=userns" not in _security(info):
        return IdShift()
    found = re.search(r"/(\d+)\.(\d+)/?$", str(info.get("DockerRootDir") or ""))
    return IdShift(int(found[1]), int(found[2])) if found else None


def _security(info: Json) -> str:
    return " ".join(str(option) for option in info.get("SecurityOptions") or ())


def filters_inside(config: Config) -> bool:
    """Whether the guest adds a filter of its own: where the profile is not ours, or may not count.

    Runtimes with a kernel of their own, such as gVisor, pass over an engine's profile.
    """
    return config.seccomp_profile != "own" or bool(config.runtime)


def _filter() -> str:
    """The engine is on this host: one architecture."""
    return b64encode(packed(platform.machine(), internet=True)).decode()


def seccomp_layers(config: Config) -> str:
    """Say which filters of system calls hold a sandbox, for its record."""
    return f"{config.seccomp_profile}{', inside' if filters_inside(config) else ''}"


def trouble_of(info: Json, config: Config) -> str:
    """Return why no sandbox can run on an engine that answers, or nothing."""
    if info.get("OSType") != "linux":
        return f"the engine runs {info.get('OSType')} containers; trainbox needs Linux ones"
    options = _security(info)
    if "name=rootless" in options:
        return (
            "the engine is rootless: a guest cannot be given directories of this host; "
            "use an engine that runs as root"
        )
    if "name=userns" in options and (os.geteuid() != 0 or id_shift(info) is None):
        return (
            "the engine maps user ids (userns-remap): only a daemon that is root can give its "
            "guests directories; run it as root, or use an engine that maps none"
        )
    if config.runtime and config.runtime not in (info.get("Runtimes") or {}):
        return f"the engine knows no runtime {config.runtime!r}; add it to its daemon.json"
    return ""
