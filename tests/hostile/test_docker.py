"""Attacks on the sandbox, each named for what it tries, against a real Docker Engine.

Those that end by themselves share one sandbox (``probes.py``); the others get one each.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import stat
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_sdk.backends import Cause, Observation, SandboxSpec
from trainbox_sdk.errors import BackendRejected
from trainbox_sdk.testing.backend import LIMITS, MakeSpec
from trainbox_sdk.testing.guest_programs import CONTRACT_VARIABLES, HARMLESS_VARIABLES, Program

pytestmark = [pytest.mark.docker, pytest.mark.hostile, pytest.mark.asyncio(loop_scope="module")]

MIB = 1024**2
PROBES = Path(__file__).with_name("probes.py")
REFUSED = {
    "EPERM",
    "EACCES",
    "ENOSYS",
    "EROFS",
    "ENOENT",
    "EAFNOSUPPORT",
    "EINVAL",
    "ESOCKTNOSUPPORT",
}
"""Ways a kernel says no. EINVAL only where the call got as far as an argument it never takes."""


@dataclass(frozen=True)
class Run:
    """One sandbox that has ended."""

    spec: SandboxSpec
    seen: Observation

    @property
    def output(self) -> Path:
        return self.spec.paths.output

    @property
    def log(self) -> str:
        return self.spec.paths.log.read_text(errors="replace")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def backend(
    new_backend: Callable[[], DockerBackend], instance: str
) -> AsyncIterator[DockerBackend]:
    backend = new_backend()
    await backend.open(instance)
    yield backend
    for seen in (await backend.observe()).values():
        await backend.remove(seen.ref)
    await backend.close()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def report(backend: DockerBackend, make: MakeSpec) -> dict[str, Any]:
    limits = replace(LIMITS, tmp_inodes=500, shm_bytes=8 * MIB, open_files=256)
    spec = replace(make(Program(""), limits=limits), argv=("-m", "probes"))
    shutil.copy(PROBES, spec.paths.code / "probes.py")
    run = await attack(backend, spec)
    assert run.seen.exit_code == 0, run.log
    found: dict[str, Any] = json.loads((run.output / "probes.json").read_text())
    assert found, run.log
    return found


async def attack(backend: DockerBackend, spec: SandboxSpec) -> Run:
    async with asyncio.timeout(90):
        await backend.prepare(spec)
        await backend.start(spec)
        return Run(spec, await backend.wait(spec))


async def begin(backend: DockerBackend, spec: SandboxSpec) -> None:
    await backend.prepare(spec)
    await backend.start(spec)
    async with asyncio.timeout(60):
        while b"ready" not in spec.paths.events.read_bytes():
            await asyncio.sleep(0.01)


def refused(found: dict[str, str]) -> bool:
    return all(answer in REFUSED for answer in found.values())


# --- privileges


async def test_guest_is_nobody_with_nothing(report: dict[str, Any]) -> None:
    found = report["identity"]
    assert found["uids"] == ["10001"] * 4
    assert found["gids"] == ["10001"] * 4
    assert set(found["groups"]) <= {"10001"}
    assert found["caps"] == ["0" * 16] * 5
    assert found["no_new_privs"] == "1"
    assert found["seccomp"] == "2"


async def test_becoming_root_is_refused(report: dict[str, Any]) -> None:
    assert set(report["become_root"].values()) == {"EPERM"}


async def test_setuid_programs_give_nothing(report: dict[str, Any]) -> None:
    assert report["setuid_programs_give_nothing"] == {"copy": "10001", "su": ""}


async def test_raising_own_limits_is_refused(report: dict[str, Any]) -> None:
    found = report["drop_of_limits"]
    assert set(found.values()) <= {"refused", "EPERM", "EACCES"}, found


# --- the kernel's doors


async def test_mounting_and_changing_root_are_refused(report: dict[str, Any]) -> None:
    assert set(report["mounting"].values()) == {"EPERM"}


async def test_new_namespaces_are_refused(report: dict[str, Any]) -> None:
    assert set(report["new_namespaces"].values()) == {"EPERM"}


async def test_dangerous_system_calls_are_refused(report: dict[str, Any]) -> None:
    found = report["dangerous_system_calls"]
    assert set(found.values()) <= {"EPERM", "ENOSYS"}, found


async def test_calls_that_old_default_profiles_let_through(
    report: dict[str, Any], backend: DockerBackend
) -> None:
    promise = next(p for p in (await backend.probe()).promises if p.name == "seccomp")
    found = report["calls_old_default_profiles_let_through"]
    if promise.level == "enforced":
        assert set(found.values()) <= {"EPERM", "ENOSYS"}, found
    else:
        assert "ptrace" in promise.how, "what is let through is said"


async def test_raw_and_foreign_sockets_are_refused(
    report: dict[str, Any], backend: DockerBackend
) -> None:
    promise = next(p for p in (await backend.probe()).promises if p.name == "seccomp")
    found = dict(report["sockets"])
    vsock = found.pop("vsock")
    assert refused(found), found
    if promise.level == "enforced":
        assert vsock in REFUSED
    else:
        assert "AF_VSOCK" in promise.how, "what is let through is said"


async def test_device_nodes_cannot_be_made(report: dict[str, Any]) -> None:
    found = report["devices"]
    assert set(found["made"].values()) == {"EPERM"}
    assert set(found["present"]) <= {
        *("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue"),
        "console",
    }


async def test_network_has_no_route_and_no_interface(report: dict[str, Any]) -> None:
    found = report["network"]
    assert found["routes"] == 0
    assert set(found["interfaces"]) <= {"lo"}
    assert found["metadata"] == found["documentation"] == "ENETUNREACH"


async def test_abstract_sockets_of_the_host_are_not_seen(report: dict[str, Any]) -> None:
    assert report["abstract_sockets_of_the_host"] == 0


# --- what it can see and touch


async def test_engine_sockets_are_absent(report: dict[str, Any]) -> None:
    assert report["engine_sockets"] == []


async def test_host_secrets_are_closed(report: dict[str, Any]) -> None:
    assert refused(report["host_secrets"]), report["host_secrets"]


async def test_no_other_process_is_seen(report: dict[str, Any]) -> None:
    assert len(report["processes"]) <= 3
    assert max(report["processes"]) < 1000


async def test_init_holds_no_variable_of_the_host(report: dict[str, Any]) -> None:
    assert set(report["init_environment"]) <= CONTRACT_VARIABLES | HARMLESS_VARIABLES


async def test_kernel_switches_are_read_only(report: dict[str, Any]) -> None:
    assert refused(report["kernel_switches"]), report["kernel_switches"]


async def test_writes_outside_are_refused(report: dict[str, Any]) -> None:
    assert refused(report["writes_outside"]), report["writes_outside"]


async def test_events_file_cannot_be_swapped_for_a_link(report: dict[str, Any]) -> None:
    found = dict(report["events_file_is_fixed"])
    assert found.pop("chmod") == "ok", "its owner may; the daemon reads it all the same"
    assert set(found.values()) <= {"EBUSY", "EEXIST", "EXDEV", "EROFS", "EACCES"}, found


async def test_output_directory_cannot_be_moved(report: dict[str, Any]) -> None:
    assert set(report["output_directory_is_fixed"].values()) <= {
        "EBUSY",
        "EXDEV",
        "EROFS",
        "EACCES",
    }


async def test_program_in_tmp_does_not_run(report: dict[str, Any]) -> None:
    assert report["exec_from_tmp"] == "EACCES"


# --- how much it can take


async def test_tmp_and_shm_floods_end_at_their_size(report: dict[str, Any]) -> None:
    found = report["floods"]
    assert found["tmp_ended"] == found["shm_ended"] == "ENOSPC"
    assert 0 < found["tmp"] <= LIMITS.tmp_bytes
    assert 0 < found["shm"] <= 8 * MIB


async def test_inode_flood_in_tmp_ends_at_its_count(report: dict[str, Any]) -> None:
    assert report["tmp_inodes"]["ended"] == "ENOSPC"
    assert report["tmp_inodes"]["made"] <= 500


async def test_sparse_and_preallocated_files_are_cut(report: dict[str, Any]) -> None:
    assert set(report["large_files"].values()) == {"EFBIG"}


async def test_descriptors_are_counted(report: dict[str, Any]) -> None:
    assert report["descriptors"]["ended"] == "EMFILE"
    assert report["descriptors"]["opened"] < 256


async def test_crash_leaves_no_core(report: dict[str, Any]) -> None:
    assert report["core_dump"] == {"dumped": False, "files": []}


async def test_orphans_are_reaped(report: dict[str, Any]) -> None:
    assert report["zombies"] == 0


async def test_init_cannot_be_killed_or_stopped(report: dict[str, Any]) -> None:
    assert report["kill_init"] in {"S", "R"}


# --- one sandbox each


async def test_fork_bomb(backend: DockerBackend, make: MakeSpec) -> None:
    bomb = Program(
        """
ready()
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.05)
"""
    )
    spec = make(bomb, limits=replace(LIMITS, pids=32, cpus=0.5))
    await begin(backend, spec)
    before = time.monotonic()
    await asyncio.sleep(0.5)
    assert time.monotonic() - before < 30, "the host still answers"
    await backend.stop(spec.ref, 0.1)
    assert (await backend.wait(spec)).exit_code in {137, 143}


async def test_memory_bomb_in_a_child_is_told_and_is_no_failure(
    backend: DockerBackend, make: MakeSpec
) -> None:
    program = Program(
        """
if os.fork() == 0:
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    hoard = []
    while True:
        block = bytearray(4 * 1024 * 1024)
        block[::4096] = b"x" * len(block[::4096])
        hoard.append(block)
_, status = os.wait()
leave("child", str(os.WTERMSIG(status)))
time.sleep(0.6)
"""
    )
    run = await attack(backend, make(program, limits=replace(LIMITS, memory_bytes=64 * MIB)))
    assert (run.output / "child").read_text() == "9"
    assert (run.seen.exit_code, run.seen.cause) == (0, Cause.NONE)
    assert "memory limit" in run.seen.detail


async def test_memory_bomb_through_tmp_counts_as_memory(
    backend: DockerBackend, make: MakeSpec
) -> None:
    program = Program('open("/tmp/x", "wb").write(b"x" * (96 * 1024 * 1024))')
    limits = replace(LIMITS, memory_bytes=48 * MIB, tmp_bytes=256 * MIB)
    run = await attack(backend, make(program, limits=limits))
    assert (run.seen.exit_code, run.seen.cause) == (137, Cause.OUT_OF_MEMORY)


async def test_disk_flood_in_output(backend: DockerBackend, make: MakeSpec) -> None:
    program = Program(
        """
number = 0
while True:
    leave("part%d" % (number // 8), "x" * (1024 * 1024))
    number += 1
    time.sleep(0.01)
"""
    )
    limits = replace(LIMITS, output_bytes=8 * MIB, file_bytes=64 * MIB)
    run = await attack(backend, make(program, limits=limits))
    assert (run.seen.exit_code, run.seen.cause) == (137, Cause.DISK_LIMIT)
    assert "8388608" in run.seen.detail


async def test_burst_that_ends_between_two_looks_is_still_found(
    backend: DockerBackend, make: MakeSpec
) -> None:
    program = Program(
        'os.posix_fallocate(os.open(out + "/x", os.O_CREAT | os.O_RDWR), 0, 32 << 20)'
    )
    run = await attack(backend, make(program, limits=replace(LIMITS, output_bytes=8 * MIB)))
    assert (run.seen.exit_code, run.seen.cause) == (0, Cause.DISK_LIMIT)


async def test_inode_flood_in_output(backend: DockerBackend, make: MakeSpec) -> None:
    program = Program(
        """
number = 0
while True:
    os.mkdir(os.path.join(out, "d%d" % number))
    number += 1
"""
    )
    run = await attack(backend, make(program))
    assert run.seen.cause is Cause.DISK_LIMIT


async def test_bottomless_directory(backend: DockerBackend, make: MakeSpec) -> None:
    program = Program(
        """
os.chdir(out)
for _ in range(1500):
    os.mkdir("d")
    os.chdir("d")
"""
    )
    run = await attack(backend, make(program))
    assert run.seen.cause is Cause.DISK_LIMIT


async def test_event_flood(backend: DockerBackend, make: MakeSpec) -> None:
    program = Program(
        """
with open(os.environ["TRAINBOX_EVENTS"], "a") as events:
    while True:
        events.write("x" * 65536)
"""
    )
    run = await attack(backend, make(program, limits=replace(LIMITS, output_bytes=8 * MIB)))
    assert run.seen.exit_code != 0
    assert run.seen.cause is Cause.DISK_LIMIT
    assert run.spec.paths.events.stat().st_size <= LIMITS.file_bytes


async def test_stdout_flood(backend: DockerBackend, make: MakeSpec) -> None:
    program = Program("while True: os.write(1, b'y' * 4095 + b'\\n')")
    run = await attack(backend, make(program, limits=replace(LIMITS, log_bytes=64 * 1024)))
    assert (run.seen.exit_code, run.seen.cause) == (137, Cause.LOG_LIMIT)
    assert run.spec.paths.log.stat().st_size <= 64 * 1024


async def test_one_line_without_end(backend: DockerBackend, make: MakeSpec) -> None:
    program = Program("while True: os.write(2, b'x' * 65536)")
    run = await attack(backend, make(program, limits=replace(LIMITS, log_bytes=64 * 1024)))
    assert run.seen.cause is Cause.LOG_LIMIT
    assert run.spec.paths.log.stat().st_size <= 64 * 1024


async def test_planted_links_and_special_files_are_left_as_evidence(
    backend: DockerBackend, make: MakeSpec, host_folder: Path
) -> None:
    secret = host_folder / "secret"
    secret.write_text("untouched")
    program = Program(
        f"""
import socket
os.symlink({str(secret)!r}, os.path.join(out, "symlink"))
os.symlink("/", os.path.join(out, "folder"))
open(os.path.join(out, "file"), "w").close()
os.link(os.path.join(out, "file"), os.path.join(out, "hardlink"))
os.mkfifo(os.path.join(out, "fifo"))
socket.socket(socket.AF_UNIX).bind(os.path.join(out, "socket"))
os.mkdir(os.path.join(out, "closed"), 0)
time.sleep(0.6)
"""
    )
    run = await attack(backend, make(program))
    assert run.seen.exit_code == 0, run.log
    kinds = {path.name: stat.S_IFMT(path.lstat().st_mode) for path in run.output.iterdir()}
    assert kinds == {
        "symlink": stat.S_IFLNK,
        "folder": stat.S_IFLNK,
        "file": stat.S_IFREG,
        "hardlink": stat.S_IFREG,
        "fifo": stat.S_IFIFO,
        "socket": stat.S_IFSOCK,
        "closed": stat.S_IFDIR,
    }
    assert secret.read_text() == "untouched"


async def test_link_planted_in_scratch_by_an_earlier_attempt_is_not_followed(
    backend: DockerBackend, make: MakeSpec, host_folder: Path
) -> None:
    """Handing the directories over to the guest must not hand over what a link points at."""
    mine = host_folder / "mine"
    mine.mkdir()
    spec = make(Program("pass"))
    (spec.paths.scratch / "link").symlink_to(mine)
    await attack(backend, spec)
    assert mine.stat().st_uid == os.getuid()
    swapped = make(Program("pass"))
    swapped.paths.scratch.rmdir()
    swapped.paths.scratch.symlink_to(mine)
    with pytest.raises(BackendRejected):
        await backend.prepare(swapped)
    assert mine.stat().st_uid == os.getuid()


async def test_fifo_in_place_of_the_events_file_is_refused(
    backend: DockerBackend, make: MakeSpec
) -> None:
    spec = make(Program("pass"))
    spec.paths.events.unlink()
    os.mkfifo(spec.paths.events)
    async with asyncio.timeout(10):
        with pytest.raises(BackendRejected, match="regular file"):
            await backend.prepare(spec)


async def test_survivor_of_a_double_fork_is_dead_after_the_end(
    backend: DockerBackend, make: MakeSpec
) -> None:
    program = Program(
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            with open(os.path.join(scratch, "heartbeat"), "a") as file:
                file.write("beat")
            time.sleep(0.01)
    os._exit(0)
os.wait()
while not os.path.exists(os.path.join(scratch, "heartbeat")):
    time.sleep(0.01)
"""
    )
    run = await attack(backend, make(program))
    size = (run.spec.paths.scratch / "heartbeat").stat().st_size
    await asyncio.sleep(0.3)
    assert (run.spec.paths.scratch / "heartbeat").stat().st_size == size > 0


async def test_stopped_processes_die_at_stop(backend: DockerBackend, make: MakeSpec) -> None:
    program = Program(
        """
import signal
ready()
os.kill(os.getpid(), signal.SIGSTOP)
time.sleep(60)
"""
    )
    spec = make(program)
    await begin(backend, spec)
    await backend.stop(spec.ref, 0.2)
    assert (await backend.wait(spec)).exit_code == 137


async def test_killing_everything_kills_nothing_that_matters(
    backend: DockerBackend, make: MakeSpec
) -> None:
    program = Program(
        """
import signal
if os.fork() == 0:
    time.sleep(60)
os.kill(-1, signal.SIGKILL)
os.wait()
leave("alive", "yes")
"""
    )
    run = await attack(backend, make(program))
    assert run.seen.exit_code == 0, run.log


async def test_frozen_init(backend: DockerBackend, make: MakeSpec) -> None:
    """Init stopped under a tracer cannot report the end; without the filter only a kill would."""
    program = Program("import ctypes; leave('answer', str(ctypes.CDLL(None).ptrace(16, 1, 0, 0)))")
    run = await attack(backend, make(program))
    assert run.seen.exit_code == 0
    assert (run.output / "answer").read_text() == "-1"


async def test_exit_code_137_is_not_called_out_of_memory(
    backend: DockerBackend, make: MakeSpec
) -> None:
    program = Program("import signal; os.kill(os.getpid(), signal.SIGKILL)")
    run = await attack(backend, make(program))
    assert (run.seen.exit_code, run.seen.cause) == (137, Cause.NONE)


@pytest.mark.parametrize("name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "GLIBC_TUNABLES"])
async def test_loader_variable_from_a_request_is_refused(
    backend: DockerBackend, make: MakeSpec, name: str
) -> None:
    with pytest.raises(BackendRejected, match="loader"):
        await backend.prepare(make(Program("pass"), env={name: "/trainbox/out/evil.so"}))


async def test_loader_variable_set_inside_reaches_only_its_own_children(
    backend: DockerBackend, make: MakeSpec
) -> None:
    program = Program(
        """
import subprocess
env = dict(os.environ, LD_PRELOAD=os.path.join(out, "evil.so"))
leave("uid", subprocess.run(["id", "-u"], env=env, capture_output=True, text=True).stdout)
"""
    )
    run = await attack(backend, make(program))
    assert (run.output / "uid").read_text().strip() == "10001"
