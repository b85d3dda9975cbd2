"""The sandbox policy as data: one pure function from a spec to the body of ``POST /containers``.

Nothing else in this backend decides what a sandbox may do. ``docs/sandbox.md`` lists every field
with the attack it stops and the test that shows it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainbox_guest import second_layer
from trainbox_plugins.backend_kit import command
from trainbox_sdk.backends import InsidePaths, SandboxRef, SandboxSpec
from trainbox_sdk.errors import BackendRejected

PYTHON = "/opt/trainbox/bin/python"
"""The interpreter that every environment image has."""

LABEL = "trainbox."

_IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
GVISOR = "runsc"
"""What the names of gVisor's runtimes have in common."""
_GVISOR_PIDS = 128
_LOG_FILES = 2
"""The engine's own copy of the output, from which a restarted daemon takes up the log again."""

_MASKED_BY_ENGINES = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
)
"""What engines hide by themselves, old ones and new (moby, ``oci/defaults.go``): a list of one's
own replaces theirs. What a host does not have is passed over."""
_BLOCK_DEVICES = (
    "/proc/diskstats",
    "/proc/partitions",
    "/sys/block",
    "/sys/class/block",
    "/sys/dev/block",
    "/sys/devices/virtual/block",
)
"""Of the whole host; a loop device names the file behind it, and so another job's step."""
_QUEUES = "/dev/mqueue"
"""Opening a file there makes a queue without ``mq_open``; they are counted per user."""
MASKED = (*_MASKED_BY_ENGINES, *_BLOCK_DEVICES, _QUEUES)
"""Covered: directories by an empty file system that is read-only, files by /dev/null."""


@dataclass(frozen=True)
class Confinement:
    """What the host decides about every sandbox alike.

    Attributes:
        uid, gid: who the guest is.
        seccomp: text of a seccomp profile, or empty for the engine's default.
        runtime: OCI runtime, or empty for the engine's default.
        cgroup_parent: or empty for the engine's default.
        gpu_devices: ids of the devices this sandbox gets.
        filter_inside: a system call filter that the guest puts on, in base64; or empty.
    """

    uid: int
    gid: int
    seccomp: str = ""
    runtime: str = ""
    cgroup_parent: str = ""
    gpu_devices: tuple[str, ...] = ()
    filter_inside: str = ""


def inside_paths(spec: SandboxSpec) -> InsidePaths:
    """Return where the guest finds its files."""
    dataset = f"/trainbox/in/{command.data_name(spec)}"
    return InsidePaths(
        spec="/trainbox/in/spec.json",
        dataset=None if spec.paths.dataset is None else dataset,
        code="/trainbox/in/code",
        output="/trainbox/out",
        scratch="/trainbox/scratch",
        events="/trainbox/events.jsonl",
        inputs="/trainbox/in/inputs" if spec.paths.inputs else None,
    )


def sandbox_policy(spec: SandboxSpec, confinement: Confinement) -> dict[str, Any]:
    """Return the create body of one sandbox (Engine API v1.41, ``ContainerCreate``).

    Pure: reads no file, no clock, no host. Equal specs give equal bodies.

    Raises:
        BackendRejected: an image that is not an id, a variable or a name the engine cannot carry.
    """
    if not _IMAGE_ID.fullmatch(spec.environment):
        raise BackendRejected(
            f"{spec.environment!r} is not an image id",
            code="unknown_environment",
            hint="tags move; use the reference that build_environment returned",
        )
    environment = command.environment(spec, inside_paths(spec))
    if confinement.filter_inside:
        environment[second_layer.ENV_FILTER] = confinement.filter_inside
    return {
        "Image": spec.environment,
        "Entrypoint": [],
        "Cmd": [PYTHON, "-u", *command.arguments(spec)],
        "Env": sorted(f"{name}={value}" for name, value in environment.items()),
        "User": f"{confinement.uid}:{confinement.gid}",
        "WorkingDir": "/tmp",  # noqa: S108 - the sandbox's own tmpfs
        "Hostname": "sandbox",
        "AttachStdin": False,
        "OpenStdin": False,
        "Tty": False,
        "StopSignal": "SIGTERM",
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": sandbox_labels(spec, confinement),
        "HostConfig": _host_config(spec, confinement),
    }


def ref_labels(ref: SandboxRef) -> dict[str, str]:
    """Return the labels a sandbox is found by; names are only a fence against a second one."""
    return {
        f"{LABEL}instance": ref.instance,
        f"{LABEL}job": ref.job_id,
        f"{LABEL}attempt": ref.attempt_id,
        f"{LABEL}role": ref.role,
    }


def ref_of(labels: Mapping[str, str]) -> SandboxRef | None:
    """Return the reference that :func:`ref_labels` wrote, or None for a stranger's container."""
    try:
        return SandboxRef(
            instance=labels[f"{LABEL}instance"],
            job_id=labels[f"{LABEL}job"],
            attempt_id=labels[f"{LABEL}attempt"],
            role=labels[f"{LABEL}role"],
        )
    except KeyError:
        return None


def sandbox_labels(spec: SandboxSpec, confinement: Confinement) -> dict[str, str]:
    """Return all labels: who it is, until when, and a digest of what it runs."""
    told = repr((spec.environment, spec.argv, sorted(spec.env.items()), spec.limits, spec.gpus))
    labels = {
        **ref_labels(spec.ref),
        f"{LABEL}deadline": spec.deadline_at.isoformat(),
        f"{LABEL}spec": hashlib.sha256(told.encode()).hexdigest(),
    }
    if confinement.gpu_devices:
        labels[f"{LABEL}gpus"] = ",".join(confinement.gpu_devices)
    return labels


def _host_config(spec: SandboxSpec, confinement: Confinement) -> dict[str, Any]:
    limits = spec.limits
    config: dict[str, Any] = {
        # --- who it is to the kernel
        "CapDrop": ["ALL"],
        "CapAdd": [],
        "SecurityOpt": _security(confinement),
        "Privileged": False,
        "UsernsMode": "",
        "PidMode": "",
        "IpcMode": "private",
        "UTSMode": "",
        "CgroupnsMode": "private",
        "Devices": [],
        "DeviceCgroupRules": [],
        # --- what it can reach
        "NetworkMode": "none",
        "Links": [],
        "ExtraHosts": [],
        "Dns": [],
        "PublishAllPorts": False,
        "ReadonlyRootfs": True,
        "MaskedPaths": list(MASKED),
        "Mounts": _mounts(spec),
        "Binds": [],
        "VolumesFrom": [],
        "Tmpfs": {
            "/tmp": (  # noqa: S108 - the sandbox's own tmpfs
                f"rw,nosuid,nodev,noexec,size={limits.tmp_bytes},"
                f"nr_inodes={limits.tmp_inodes},mode=1777"
            )
        },
        # --- how much it can use
        "Memory": limits.memory_bytes,
        "MemorySwap": limits.memory_bytes,
        "NanoCpus": round(limits.cpus * 1_000_000_000),
        "PidsLimit": _pids_limit(limits.pids, confinement.runtime),
        "ShmSize": limits.shm_bytes,
        "Ulimits": [
            {"Name": "nofile", "Soft": limits.open_files, "Hard": limits.open_files},
            {"Name": "fsize", "Soft": limits.file_bytes, "Hard": limits.file_bytes},
            {"Name": "core", "Soft": 0, "Hard": 0},
            {"Name": "memlock", "Soft": 65536, "Hard": 65536},
            {"Name": "msgqueue", "Soft": 0, "Hard": 0},
        ],
        "OomScoreAdj": 500,
        "OomKillDisable": False,
        # --- how it lives and dies
        "Init": True,
        "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0},
        "AutoRemove": False,
        "LogConfig": {
            "Type": "json-file",
            "Config": {"max-size": str(2 * limits.log_bytes), "max-file": str(_LOG_FILES)},
        },
    }
    if confinement.runtime:
        config["Runtime"] = confinement.runtime
    if confinement.cgroup_parent:
        config["CgroupParent"] = confinement.cgroup_parent
    if confinement.gpu_devices:
        config["DeviceRequests"] = [
            {
                "Driver": "nvidia",
                "DeviceIDs": list(confinement.gpu_devices),
                "Capabilities": [["gpu"]],
            }
        ]
    return config


def _pids_limit(pids: int, runtime: str) -> int:
    """GVisor's kernel is processes of the same cgroup: its own, and two for each of the guest's."""
    return 2 * pids + _GVISOR_PIDS if GVISOR in runtime else pids


def _security(confinement: Confinement) -> list[str]:
    options = ["no-new-privileges:true"]
    if confinement.seccomp:
        options.append(f"seccomp={confinement.seccomp}")
    return options


def _mounts(spec: SandboxSpec) -> list[dict[str, Any]]:
    inside, paths = inside_paths(spec), spec.paths
    read_only = [(str(paths.spec), inside.spec), (str(paths.code), inside.code)]
    if paths.dataset is not None and inside.dataset is not None:
        read_only.append((str(paths.dataset), inside.dataset))
    if paths.inputs is not None and inside.inputs is not None:
        read_only.append((str(paths.inputs), inside.inputs))
    writable = [
        (str(paths.output), inside.output),
        (str(paths.scratch), inside.scratch),
        (str(paths.events), inside.events),
    ]
    return [_bind(source, target, read_only=True) for source, target in read_only] + [
        _bind(source, target, read_only=False) for source, target in writable
    ]


def _bind(source: str, target: str, *, read_only: bool) -> dict[str, Any]:
    # A mount, unlike a bind string, refuses a source that does not exist and carries any path.
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": read_only,
        "BindOptions": {"Propagation": "rprivate"},
    }
