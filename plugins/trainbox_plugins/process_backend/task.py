"""From a spec to what a shim is told: one pure function, and the paths it promises the guest."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox_guest.confine import FILES, LAYERS, USER, Policy
from trainbox_guest.shim.notes import Task
from trainbox_plugins.backend_kit import command
from trainbox_plugins.backend_kit.handover import given_paths
from trainbox_plugins.process_backend.venvs import VenvRecord, python_of
from trainbox_sdk.backends import InsidePaths, SandboxSpec

if TYPE_CHECKING:
    from trainbox_plugins.process_backend.config import Config
    from trainbox_plugins.process_backend.index import Sandbox


def inside_paths(spec: SandboxSpec, sandbox: Sandbox) -> InsidePaths:
    """Return the paths as the guest sees them: the host's own, or links beside one another."""
    paths = spec.paths
    dataset = None if paths.dataset is None else str(sandbox.inputs / command.data_name(spec))
    return InsidePaths(
        spec=str(paths.spec),
        dataset=dataset,
        code=str(paths.code),
        output=str(paths.output),
        scratch=str(paths.scratch),
        events=str(paths.events),
        inputs=str(sandbox.inputs / "inputs") if paths.inputs else None,
    )


def shim_task(
    spec: SandboxSpec,
    sandbox: Sandbox,
    venv: VenvRecord,
    config: Config,
    *,
    layers: tuple[str, ...] = LAYERS,
) -> Task:
    """Return what the shim of a sandbox runs.

    Args:
        spec: what to run.
        sandbox: where its notes and links lie.
        venv: the record of ``spec.environment``.
        config: of the backend.
        layers: what this host can confine.

    Raises:
        BackendRejected: an argument or variable that no program can be given.
    """
    paths, limits = spec.paths, spec.limits
    writable = [str(paths.output), str(paths.scratch), str(paths.events)]
    inside = inside_paths(spec, sandbox)
    env = command.environment(spec, inside)
    if FILES not in layers:  # no private /tmp
        env |= {"HOME": inside.scratch, "TMPDIR": inside.scratch}
    policy = Policy(
        read=(spec.environment, *venv.roots, str(sandbox.inputs), *map(str, given_paths(paths))),
        write=tuple(writable),
        uid=config.uid if os.geteuid() == 0 and USER in layers else None,
        tmp_bytes=limits.tmp_bytes,
        tmp_inodes=limits.tmp_inodes,
        shm_bytes=limits.shm_bytes,
        open_files=limits.open_files,
        file_bytes=limits.file_bytes,
        layers=layers,
    )
    return Task(
        argv=[python_of(Path(spec.environment)), "-u", *command.arguments(spec)],
        env=env,
        cwd=str(paths.scratch),
        policy=policy,
        log=str(paths.log),
        watched=[] if spec.disk_is_sized else writable,
        memory_bytes=limits.memory_bytes,
        pids=limits.pids,
        output_bytes=limits.output_bytes,
        output_entries=config.output_entries,
        log_bytes=limits.log_bytes,
        flood_bytes=max(config.log_flood_bytes, limits.log_bytes),
        log_rate=(config.log_bytes_per_s, config.log_lines_per_s, config.log_burst_s),
        cpus=limits.cpus,
        deadline_at=spec.deadline_at.timestamp(),
        grace_s=limits.grace_s,
        cgroup=spec.ref.name if config.cgroups else "",
    )
