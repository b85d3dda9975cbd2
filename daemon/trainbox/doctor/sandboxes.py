"""Checks of backends: each is looked at, and its main promises are really tried in a sandbox."""

from __future__ import annotations

import asyncio
import getpass
import secrets
import shlex
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from trainbox.disks import Disks, DiskSize, trouble_at
from trainbox.doctor.findings import Finding, fail, ok, skip, warn
from trainbox.plugins import load_plugins, read_manifest
from trainbox.registry import Registry, build_registry
from trainbox.settings import Settings
from trainbox.workbench import open_backends
from trainbox_sdk.backends import (
    Cause,
    Level,
    Limits,
    Observation,
    Paths,
    SandboxBackend,
    SandboxRef,
    SandboxSpec,
)
from trainbox_sdk.environments import BuiltEnvironment
from trainbox_sdk.errors import TrainboxError

MIB = 1024**2
MEMORY = 64 * MIB
TRIAL_S = 60.0
TOLD = ("seccomp", "user", "runtime")
"""Promises that are kept in more ways than one: the doctor says in which."""

EATER = f"b = bytearray({4 * MEMORY}); b[::4096] = b'x' * len(b[::4096]); print('ate', len(b))"
"""Touches four times what it may have."""
LISTENER = (
    "import socket;"
    "routes = [l.split() for l in open('/proc/net/route')][1:];"
    "v6 = [l.split() for l in open('/proc/net/ipv6_route')];"
    "away = [r[0] for r in routes if r[0] != 'lo'] + [r[9] for r in v6 if r[9] != 'lo'];"
    "print('interfaces', sorted(n for _, n in socket.if_nameindex()));"
    "print('routes', away)"
)
"""Reads the routing tables; nothing is sent anywhere."""


async def backends(settings: Settings) -> AsyncIterator[Finding]:
    """Look at every backend, its environments, and what it confines."""
    try:
        registry = build_registry(load_plugins(read_manifest(settings.plugins_file)))
    except TrainboxError:
        return  # the check of the plugins says it
    disks = await asyncio.to_thread(_disks, settings)
    async with AsyncExitStack() as stack:
        instance = f"doctor{secrets.token_hex(4)}"
        await open_backends(stack, registry.backends, instance)
        usable = 0
        for backend in registry.backends.values():
            async for finding in _one(registry, backend, instance, disks):
                yield finding
            with suppress(TrainboxError):
                usable += (await backend.probe()).ok
        if not usable:
            yield fail(
                "backends.usable", "no backend can run a job", "trainbox admin doctor # see above"
            )


def _disks(settings: Settings) -> Disks:
    """Return what a daemon's disks would be, tried out beside its own."""
    size = DiskSize(settings.step_disk_bytes, settings.step_disk_files)
    disks = Disks(settings.state_dir, size, ready=0)
    place = settings.state_dir if settings.state_dir.is_dir() else Path(tempfile.gettempdir())
    disks.trouble = trouble_at(place)
    return disks


async def _one(
    registry: Registry, backend: SandboxBackend, instance: str, disks: Disks
) -> AsyncIterator[Finding]:
    name = f"backend.{backend.name}"
    health = await backend.probe()
    if not health.ok:
        yield warn(name, health.detail, _fix(backend.name, health.detail))
        return
    yield ok(name, health.detail)
    for promise in health.promises:
        if promise.name in TOLD and promise.level is Level.ENFORCED:
            yield ok(f"{name}.{promise.name}", promise.how)
    yield _disk(name, disks, sees_mounts=health.sees_mounts)
    weak = [p for p in health.promises if p.level is not Level.ENFORCED and p.name != "disk"]
    for promise in weak:
        # No command changes what the kernel or the engine of this host can do.
        yield warn(f"{name}.{promise.name}", f"{promise.level}: {promise.how}", "")
    built = {one.digest: one for one in await backend.environments()}
    for finding in _environments(registry, backend.name, built):
        yield finding
    known = {environment.digest for environment in registry.environments.values()}
    first = next((one for digest, one in built.items() if digest in known), None)
    if first is None:
        yield skip(f"{name}.memory_limit", "nothing to try it in: no environment is built")
        yield skip(f"{name}.no_network", "nothing to try it in: no environment is built")
        return
    yield await _memory(backend, first, instance)
    yield await _network(backend, first, instance)


def _fix(backend: str, detail: str) -> str:
    """Return the command that mends it, where the sentence tells of something that one mends."""
    if backend != "docker":
        return "trainbox plugins ls"
    if "may not open" in detail:
        return f"usermod -aG docker {shlex.quote(getpass.getuser())}"
    away = ("there is no Docker socket", "nothing listens", "does not answer")
    return "systemctl start docker" if any(words in detail for words in away) else ""


def _disk(name: str, disks: Disks, *, sees_mounts: bool) -> Finding:
    told = disks.sentence(sees_mounts=sees_mounts)
    if not disks.trouble and sees_mounts:
        return ok(f"{name}.disk", f"what a step writes lies on a file system of its own: {told}")
    fix = ""
    if "not installed" in disks.trouble:
        fix = "apt-get install -y e2fsprogs"
    elif "/dev/loop" in disks.trouble:
        fix = "modprobe loop"
    return warn(
        f"{name}.disk", f"sizes are watched, and a burst between two looks passes: {told}", fix
    )


def _environments(
    registry: Registry, backend: str, built: dict[str, BuiltEnvironment]
) -> Iterator[Finding]:
    for environment in registry.environments.values():
        check = f"backend.{backend}.environment.{environment.name}"
        if environment.digest in built:
            yield ok(check, f"built as {built[environment.digest].reference}")
        else:
            fix = f"trainbox images build {shlex.quote(environment.name)} --backend {backend}"
            yield warn(check, "not built; the first job that needs it waits for it", fix)


async def _memory(backend: SandboxBackend, built: BuiltEnvironment, instance: str) -> Finding:
    check = f"backend.{backend.name}.memory_limit"
    seen, said = await _run(backend, built, instance, EATER)
    if seen.cause is Cause.OUT_OF_MEMORY:
        return ok(check, f"a sandbox of {MEMORY // MIB} MiB that took more was killed")
    if seen.exit_code and "ate" not in said:
        return warn(
            check,
            f"it ended with {seen.exit_code}, and not for its memory: {seen.detail or said[-200:]}",
            "",
        )
    return fail(check, f"a sandbox of {MEMORY // MIB} MiB took {4 * MEMORY // MIB} MiB", _kernel())


async def _network(backend: SandboxBackend, built: BuiltEnvironment, instance: str) -> Finding:
    check = f"backend.{backend.name}.no_network"
    seen, said = await _run(backend, built, instance, LISTENER)
    if seen.exit_code != 0:
        return warn(check, f"the trial ended with {seen.exit_code}: {said[-200:]}", "")
    lines = dict(line.split(" ", 1) for line in said.splitlines() if " " in line)
    if lines.get("routes") == "[]" and lines.get("interfaces") in {"['lo']", "[]"}:
        return ok(check, "a sandbox has a loopback interface and no route")
    return fail(check, f"a sandbox sees {' '.join(said.split())[:200]}", "")


def _kernel() -> str:
    return "grep -w memory /proc/cgroups || cat /sys/fs/cgroup/cgroup.controllers"


async def _run(
    backend: SandboxBackend, built: BuiltEnvironment, instance: str, code: str
) -> tuple[Observation, str]:
    """Run one line of Python in a sandbox as a step would run, and return its end and its log."""
    folder = Path(tempfile.mkdtemp(prefix="trainbox-doctor-"))
    ref = SandboxRef(instance, "job_doctor", f"att_{secrets.token_hex(6)}")
    try:
        spec = _spec(ref, built, folder, code)
        try:
            await backend.prepare(spec)
            await backend.start(spec)
            seen = await backend.wait(spec)
        finally:
            await backend.remove(ref)
        return seen, _log(spec.paths)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _log(paths: Paths) -> str:
    return paths.log.read_text(errors="replace")


def _spec(ref: SandboxRef, built: BuiltEnvironment, folder: Path, code: str) -> SandboxSpec:
    folder.chmod(0o711)
    for name in ("code", "output", "scratch", "state"):
        (folder / name).mkdir()
    for name in ("spec.json", "events.jsonl", "log"):
        (folder / name).write_text("{}" if name == "spec.json" else "")
    paths = Paths(
        spec=folder / "spec.json",
        dataset=None,
        code=folder / "code",
        output=folder / "output",
        scratch=folder / "scratch",
        events=folder / "events.jsonl",
        log=folder / "log",
        state=folder / "state",
    )
    return SandboxSpec(
        ref=ref,
        environment=built.reference,
        argv=("-c", code),
        paths=paths,
        limits=Limits(memory_bytes=MEMORY, tmp_bytes=8 * MIB, shm_bytes=8 * MIB, wall_s=TRIAL_S),
        deadline_at=datetime.now(UTC) + timedelta(seconds=TRIAL_S),
    )
