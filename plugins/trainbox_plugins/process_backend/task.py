"""From a spec to what a shim is told: one pure function, and the paths it promises the guest."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox_guest.confine import FILES, LAYERS, USER, Policy
from trainbox_guest.shim.notes import Task
from trainbox_plugins.process_backend.venvs import VenvRecord, python_of
from trainbox_sdk.backends import InsidePaths, SandboxSpec, guest_environment
from trainbox_sdk.errors import BackendRejected

if TYPE_CHECKING:
    from trainbox_plugins.process_backend.config import Config
    from trainbox_plugins.process_backend.index import Sandbox

MAX_ENV_VALUE_BYTES = 4096
MAX_ENV_BYTES = 64 * 1024
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LOADER_ENV = re.compile(r"LD_.*|GCONV_PATH|MALLOC_.*|GLIBC_TUNABLES")


def data_name(spec: SandboxSpec) -> str:
    """Return the name of the dataset inside; it keeps its suffix, which readers look at."""
    return "data" if spec.paths.dataset is None else f"data{spec.paths.dataset.suffix}"


def inside_paths(spec: SandboxSpec, sandbox: Sandbox) -> InsidePaths:
    """Return the paths as the guest sees them: the host's own, or links beside one another."""
    paths = spec.paths
    dataset = None if paths.dataset is None else str(sandbox.inputs / data_name(spec))
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
    given = [paths.spec, paths.code, *paths.inputs.values()]
    given += [paths.dataset] if paths.dataset is not None else []
    policy = Policy(
        read=(spec.environment, *venv.roots, str(sandbox.inputs), *(str(path) for path in given)),
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
        argv=[python_of(Path(spec.environment)), "-u", *_argv(spec)],
        env=_environment(spec, inside_paths(spec, sandbox), private_tmp=FILES in layers),
        cwd=str(paths.scratch),
        policy=policy,
        log=str(paths.log),
        watched=writable,
        memory_bytes=limits.memory_bytes,
        pids=limits.pids,
        output_bytes=limits.output_bytes,
        output_entries=config.output_entries,
        log_bytes=limits.log_bytes,
        flood_bytes=max(config.log_flood_bytes, limits.log_bytes),
        cpus=limits.cpus,
        deadline_at=spec.deadline_at.timestamp(),
        grace_s=limits.grace_s,
        cgroup=spec.ref.name if config.cgroups else "",
    )


def _argv(spec: SandboxSpec) -> list[str]:
    if not spec.argv:
        raise BackendRejected("nothing to run: argv is empty")
    if any("\0" in word for word in spec.argv):
        raise BackendRejected("an argument holds a null byte")
    return list(spec.argv)


def _environment(spec: SandboxSpec, inside: InsidePaths, *, private_tmp: bool) -> dict[str, str]:
    for name in spec.env:
        if not _ENV_NAME.fullmatch(name):
            raise BackendRejected(f"{name!r} is not a name an environment variable can have")
        if _LOADER_ENV.fullmatch(name):
            raise BackendRejected(f"variable {name} steers the dynamic loader")
    whole = guest_environment(inside, spec)
    if not private_tmp:
        whole |= {"HOME": inside.scratch, "TMPDIR": inside.scratch}
    if sum(_variable_bytes(name, value) for name, value in whole.items()) > MAX_ENV_BYTES:
        raise BackendRejected(f"the environment is larger than {MAX_ENV_BYTES} bytes")
    return whole


def _variable_bytes(name: str, value: str) -> int:
    if "\0" in value:
        raise BackendRejected(f"variable {name} holds a null byte")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise BackendRejected(f"variable {name} is not text: {error}") from error
    if size > MAX_ENV_VALUE_BYTES:
        raise BackendRejected(f"variable {name} is longer than {MAX_ENV_VALUE_BYTES} bytes")
    return len(name) + size + 2
