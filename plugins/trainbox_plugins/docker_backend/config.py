"""What an admin may set for the docker backend, in ``[plugin.config]`` of ``plugins.toml``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

PositiveSeconds = Annotated[float, Field(gt=0, le=3600)]


class Config(BaseModel):
    """Settings of the docker backend.

    Attributes:
        socket_url: the engine's Unix socket; it must be on this host, since paths are bind-mounted.
        call_deadline_s: how long any short engine call may take before the engine counts as away.
        start_deadline_s: the same for create, start and remove, which do the kernel's work.
        cpus: cores to give out; None for all of the engine's but ``reserve_cpus``.
        memory_bytes: memory to give out; None for all of the engine's but ``reserve_memory_bytes``.
        gpu_devices: device ids to give out, one sandbox per device; none by default.
        runtime: OCI runtime the engine knows, such as ``runsc``; None for the engine's default.
        seccomp_profile: ``own`` for the allow-list that comes with this backend, ``engine`` for the
            engine's default, or the path of a profile.
        sandbox_uid, sandbox_gid: who the guest is when the daemon is root. Another daemon runs its
            guests as itself, so that both can write the step's directories.
        cgroup_parent: cgroup under which all sandboxes lie, so that one limit can hold them all.
        log_flood_bytes: output beyond which a sandbox is killed; less is cut to its log limit.
        log_bytes_per_s, log_lines_per_s: faster output loses whole lines, which a line tells of.
        log_burst_s: how many seconds' worth of that may come at once.
        max_files: files a sandbox may have in its writable directories.
        reconnect_s: how long a wait looks for an engine that has gone away before it says so.
        disk_poll_s: seconds between two looks at the size of the writable directories.
        standby: whether containers are kept at hand that have started and imported their libraries:
            ``auto`` does so on hosts with at least 4 cores and 8 GiB of memory.
        standby_per_class: how many per kind of job; kinds that nobody asks for have none.
        standby_memory_bytes: what all that stand by may use together, measured.
        standby_idle_s: seconds without a job of its kind after which one is let go.
        standby_max_age_s: seconds after which one is replaced.
        registry_base: image that environments are built from where a registry is reachable: one
            name, with ``{version}`` where the Python version stands, or a name per version; None
            bootstraps from distribution packages.
        python_prefixes: Python version to the directory of a relocatable CPython, for bases that
            are made here; other versions are looked for on this host.
        cache_dir: wheels and Debian packages; None for TRAINBOX_CACHE_DIR or the user's cache.
        wheelhouse: directory of wheels to take instead of asking a package index.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    socket_url: Annotated[str, Field(pattern=r"^unix:///.+")] = "unix:///var/run/docker.sock"
    call_deadline_s: PositiveSeconds = 15.0
    start_deadline_s: PositiveSeconds = 60.0
    cpus: Annotated[float, Field(gt=0)] | None = None
    memory_bytes: Annotated[int, Field(gt=0)] | None = None
    reserve_cpus: Annotated[float, Field(ge=0)] = 0.0
    reserve_memory_bytes: Annotated[int, Field(ge=0)] = 1024**3
    gpu_devices: tuple[str, ...] = ()
    runtime: str | None = None
    seccomp_profile: Literal["own", "engine"] | Path = "own"
    sandbox_uid: Annotated[int, Field(ge=1, le=2**31 - 1)] = 10001
    sandbox_gid: Annotated[int, Field(ge=1, le=2**31 - 1)] = 10001
    cgroup_parent: str | None = None
    log_flood_bytes: Annotated[int, Field(gt=0)] = 64 * 1024**2
    log_bytes_per_s: Annotated[float, Field(gt=0)] = 1024**2
    log_lines_per_s: Annotated[float, Field(gt=0)] = 10_000
    log_burst_s: Annotated[float, Field(ge=1)] = 30.0
    max_files: Annotated[int, Field(gt=0)] = 100_000
    reconnect_s: PositiveSeconds = 10.0
    disk_poll_s: PositiveSeconds = 1.0
    standby: Literal["auto", "on", "off"] = "auto"
    standby_per_class: Annotated[int, Field(ge=1, le=64)] = 2
    standby_memory_bytes: Annotated[int, Field(gt=0)] = 512 * 1024**2
    standby_idle_s: Annotated[float, Field(gt=0)] = 900.0
    standby_max_age_s: Annotated[float, Field(gt=0)] = 3600.0
    registry_base: str | dict[str, str] | None = None
    python_prefixes: dict[str, str] = Field(default_factory=dict)
    cache_dir: Path | None = None
    wheelhouse: Path | None = None

    @field_validator("seccomp_profile")
    @classmethod
    def _profile_can_be_read(cls, value: str | Path) -> str | Path:
        """Say which file is wrong here, where the key is known, and not when a sandbox starts."""
        if isinstance(value, Path):
            try:
                json.loads(value.read_text(encoding="utf-8"))
            except OSError as error:
                raise ValueError(f"{value} cannot be read: {error.strerror}") from error
            except ValueError as error:
                raise ValueError(f"{value} is not JSON: {error}") from error
        return value
