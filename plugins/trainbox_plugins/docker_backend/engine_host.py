"""What follows from the engine's host: the budget, who the guest is, whether it can run at all."""

from __future__ import annotations

import os

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
        filter_inside=filters_inside(config),
    )


def filters_inside(config: Config) -> bool:
    """Whether the guest adds a filter of its own: where the profile is not ours, or may not count.

    Runtimes with a kernel of their own, such as gVisor, pass over an engine's profile.
    """
    return config.seccomp_profile != "own" or bool(config.runtime)


def trouble_of(info: Json, config: Config) -> str:
    """Return why no sandbox can run on an engine that answers, or nothing."""
    if info.get("OSType") != "linux":
        return f"the engine runs {info.get('OSType')} containers; trainbox needs Linux ones"
    options = " ".join(str(option) for option in info.get("SecurityOptions") or ())
    for feature in ("name=rootless", "name=userns"):
        if feature in options:
            return (
                f"the engine maps user ids ({feature}), so that a guest cannot write directories "
                "of this host; use an engine without it"
            )
    if config.runtime and config.runtime not in (info.get("Runtimes") or {}):
        return f"the engine knows no runtime {config.runtime!r}; add it to its daemon.json"
    return ""
