"""Attacks on the process backend, one per promise, named for the attack.

Where this host cannot keep a promise the backend must say so: each test asks the backend's own
health first, and an attack on a promise that is not claimed only has to leave the daemon unharmed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainbox_guest.shim import notes
from trainbox_plugins.environments.testing import tiny_environment
from trainbox_plugins.environments.wheelhouse import Wheelhouse
from trainbox_plugins.process_backend.backend import ProcessBackend
from trainbox_plugins.process_backend.config import Config
from trainbox_plugins.process_backend.venvs import Venvs
from trainbox_sdk.backends import Cause, Level, Limits, Observation, Phase, SandboxSpec
from trainbox_sdk.errors import BackendRejected
from trainbox_sdk.testing.backend import LIMITS, MIB, MakeSpec, SandboxFiles
from trainbox_sdk.testing.guest_programs import Program

pytestmark = pytest.mark.hostile


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    venvs = Venvs(folder / "venvs", Wheelhouse(folder / "wheels", folder), {})
    return venvs.build(tiny_environment(folder), lambda fraction, sentence: None).reference


class Cell:
    """One backend and what it takes to run an attack in it."""

    def __init__(self, backend: ProcessBackend, make: MakeSpec, levels: dict[str, Level]) -> None:
        self.backend = backend
        self.make = make
        self.levels = levels

    async def run(
        self, code: str, *argv: str, limits: Limits = LIMITS, ok: bool = False
    ) -> tuple[Observation, SandboxSpec]:
        spec = self.make(Program(code), argv=argv, limits=limits)
        await self.backend.prepare(spec)
        await self.backend.start(spec)
        async with asyncio.timeout(60):
            seen = await self.backend.wait(spec)
        if ok:
            assert seen.exit_code == 0, (seen, spec.paths.log.read_text(errors="replace"))
        return seen, spec

    def claims(self, *promises: str) -> bool:
        return all(self.levels.get(promise) is Level.ENFORCED for promise in promises)


@pytest.fixture(params=["groups", "watched"])
async def cell(
    request: pytest.FixtureRequest, tmp_path: Path, environment: str
) -> AsyncIterator[Cell]:
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o011)
    config = Config(
        index_dir=tmp_path / "index",
        cache_dir=tmp_path / "cache",
        cgroups=request.param == "groups",
        output_entries=2000,
        log_flood_bytes=8 * MIB,
    )
    backend = ProcessBackend(config)
    instance = f"test-{uuid.uuid4().hex[:12]}"
    await backend.open(instance)
    health = await backend.probe()
    assert health.ok, health.detail
    levels = {promise.name: promise.level for promise in health.promises}
    yield Cell(backend, MakeSpec(SandboxFiles(tmp_path), environment, instance), levels)
    for seen in (await backend.observe()).values():
        await backend.remove(seen.ref)
    await backend.close()


ATTEMPTS = """
def attempt(name, action):
    try:
        found = action()
    except BaseException as error:
        return
    leave("out_" + name, repr(found))
"""


async def held(cell: Cell, code: str, *argv: str) -> None:
    """Run attempts; each that works leaves a file ``out_<name>``."""
    _, spec = await cell.run(ATTEMPTS + code, *argv, ok=True)
    assert sorted(path.name for path in spec.paths.output.glob("out_*")) == []


# --- files


async def test_reads_secrets_of_the_host_and_of_neighbours(cell: Cell, tmp_path: Path) -> None:
    if not cell.claims("files"):
        pytest.fail(f"this host should confine files: {cell.levels}")
    secret = tmp_path / "database.sqlite"
    secret.write_text("everything")
    secret.chmod(0o644)
    _, neighbour = await cell.run("leave('model.onnx', 'theirs')", ok=True)
    (neighbour.paths.output / "model.onnx").chmod(0o644)
    await held(
        cell,
        """
for number, path in enumerate(sys.argv[1:]):
    attempt("read_%d" % number, lambda: open(path, "rb").read(1))
""",
        str(secret),
        str(neighbour.paths.output / "model.onnx"),
        str(neighbour.paths.state / notes.TASK),
        "/etc/shadow",
        "/etc/hostname",
        "/proc/1/environ",
        "/proc/1/root/etc/shadow",
        "/root/.bashrc",
    )


async def test_changes_its_code_its_data_its_environment_and_its_spec(
    cell: Cell, environment: str
) -> None:
    await held(
        cell,
        """
spec, code, venv = os.environ["TRAINBOX_SPEC"], os.environ["PYTHONPATH"], sys.argv[1]
attempt("spec", lambda: open(spec, "a").write("x"))
attempt("code", lambda: open(os.path.join(code, "planted.py"), "w"))
attempt("venv", lambda: open(os.path.join(venv, "pyvenv.cfg"), "a"))
attempt("bin", lambda: os.symlink("/bin/true", os.path.join(venv, "bin", "pip")))
attempt("usr", lambda: open("/usr/planted", "w"))
attempt("etc", lambda: open("/etc/passwd", "a"))
attempt("chmod", lambda: os.chmod(spec, 0o777))
attempt("unlink", lambda: os.unlink(spec))
""",
        environment,
    )


async def test_reaches_sockets_of_the_host(cell: Cell, tmp_path: Path) -> None:
    path = str(tmp_path / "host.sock")
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as by_path,
        socket.socket(socket.AF_UNIX) as abstract,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
    ):
        by_path.bind(path)
        os.chmod(path, 0o777)
        by_path.listen()
        name = f"trainbox-{uuid.uuid4().hex}"
        abstract.bind("\0" + name)
        abstract.listen()
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(0.2)
        await held(
            cell,
            """
import socket
tcp, udp, path, name = sys.argv[1:]
def unix(address):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(address)
attempt("tcp", lambda: socket.create_connection(("127.0.0.1", int(tcp)), 2))
attempt("path", lambda: unix(path))
attempt("abstract", lambda: unix("\\0" + name))
attempt("docker", lambda: unix("/var/run/docker.sock"))
attempt("raw", lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("packet", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt("vsock", lambda: socket.socket(40, socket.SOCK_STREAM))
attempt("bluetooth", lambda: socket.socket(31, socket.SOCK_RAW))
try:
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"out", ("127.0.0.1", int(udp)))
except OSError:
    pass
""",
            str(tcp.getsockname()[1]),
            str(udp.getsockname()[1]),
            path,
            name,
        )
        with pytest.raises(TimeoutError):
            udp.recv(16)


# --- privileges


async def test_regains_privileges(cell: Cell) -> None:
    await held(
        cell,
        """
import ctypes, subprocess
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    if libc.syscall(*arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
    return "worked"
attempt("setuid", lambda: os.setuid(0))
attempt("setgid", lambda: os.setgid(0))
attempt("setgroups", lambda: os.setgroups([0]))
attempt("chown", lambda: os.chown(os.environ["MODEL_OUTPUT_PATH"], 0, 0))
attempt("mknod", lambda: os.mknod(os.path.join(scratch, "sda"), 0o60600, os.makedev(8, 0)))
attempt("chroot", lambda: os.chroot("/"))
attempt("nice", lambda: os.nice(-10))
attempt("su", lambda: subprocess.run(["su", "-c", "id"], check=True, timeout=5))
for name, number in {"unshare": 272, "setns": 308, "mount": 165, "pivot_root": 155,
                     "bpf": 321, "keyctl": 250, "io_uring": 425, "userfaultfd": 323,
                     "perf": 298, "kexec": 246, "open_by_handle": 304,
                     "process_vm_readv": 310}.items():
    attempt(name, lambda: call(number, 0, 0, 0, 0, 0, 0))
attempt("ptrace", lambda: call(101, 16, os.getppid(), 0, 0))
attempt("clone_newuser", lambda: call(56, 0x10000000 | 17, 0, 0, 0, 0))
attempt("memory_of_init", lambda: open("/proc/1/mem", "rb"))
attempt("oom", lambda: open("/proc/self/oom_score_adj", "w").write("-1000"))
attempt("sysctl", lambda: open("/proc/sys/kernel/hostname", "w").write("x"))
attempt("sysrq", lambda: open("/proc/sysrq-trigger", "w").write("b"))
attempt("kernel_memory", lambda: open("/proc/kcore", "rb").read(1))
attempt("disk_device", lambda: open("/dev/vda", "rb"))
""",
    )


async def test_kills_everything_it_may(cell: Cell) -> None:
    """``kill(-1)`` takes the step itself, and neither its watcher nor the daemon."""
    seen, spec = await cell.run(
        """
import signal
if os.fork() == 0:
    time.sleep(600)
os.kill(-1, signal.SIGKILL)
leave("child", str(os.wait()[1]))
os._exit(5)
"""
    )
    assert (seen.phase, seen.exit_code, seen.cause) == (Phase.EXITED, 5, Cause.NONE)
    assert (spec.paths.output / "child").read_text() == str(signal.SIGKILL)


async def test_signals_the_daemon(cell: Cell) -> None:
    await held(cell, 'attempt("seen", lambda: os.kill(int(sys.argv[1]), 0))', str(os.getpid()))


async def test_kills_its_own_init(cell: Cell) -> None:
    """PID 1 of the step is out of its reach: same namespace, another user or the kernel's rule."""
    seen, _ = await cell.run(
        """
import signal
try:
    os.kill(os.getppid(), signal.SIGKILL)
except PermissionError:
    pass
time.sleep(0.2)
sys.exit(9)
"""
    )
    assert seen.exit_code == 9


async def test_survivors_of_a_finished_step_are_dead(cell: Cell) -> None:
    _, spec = await cell.run(
        """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            with open(os.path.join(scratch, "heartbeat"), "a") as file:
                file.write("beat\\n")
            time.sleep(0.02)
    os._exit(0)
os.wait()
while not os.path.exists(os.path.join(scratch, "heartbeat")):
    time.sleep(0.01)
""",
        ok=True,
    )
    size = (spec.paths.scratch / "heartbeat").stat().st_size
    await asyncio.sleep(0.2)
    assert (spec.paths.scratch / "heartbeat").stat().st_size == size


# --- how much


async def test_eats_memory_in_a_child(cell: Cell) -> None:
    """A child's death at the limit is the step's own business only where the step says so."""
    seen, spec = await cell.run(
        """
pid = os.fork()
if pid == 0:
    block = [bytearray(b"x" * 1024 * 1024) for _ in range(4096)]
    os._exit(0)
leave("child", str(os.waitpid(pid, 0)[1]))
""",
        limits=replace(LIMITS, memory_bytes=96 * MIB),
    )
    if seen.cause is Cause.NONE:  # the kernel killed the child alone
        assert (spec.paths.output / "child").read_text() == str(signal.SIGKILL)
        assert "memory limit" in seen.detail
    else:  # the watcher killed all of it
        assert seen.cause is Cause.OUT_OF_MEMORY
        assert seen.exit_code == 137


async def test_fork_bomb(cell: Cell) -> None:
    seen, _ = await cell.run(
        """
import signal
signal.alarm(2)
while True:
    try:
        os.fork()
    except OSError:
        time.sleep(0.01)
""",
        limits=replace(LIMITS, pids=32),
    )
    assert seen.phase is Phase.EXITED
    assert seen.exit_code == 128 + signal.SIGALRM


async def test_floods_its_log(cell: Cell) -> None:
    seen, spec = await cell.run("while True: os.write(1, b'x' * 65536)")
    assert seen.cause is Cause.LOG_LIMIT
    assert spec.paths.log.stat().st_size <= LIMITS.log_bytes


@pytest.mark.parametrize(
    "how",
    [
        "for n in range(10000): open(os.path.join(scratch, str(n)), 'wb').write(b'x' * 1048576)",
        "for n in range(10000): os.posix_fallocate("
        "os.open(os.path.join(scratch, str(n)), os.O_CREAT | os.O_WRONLY), 0, 1048576)",
        "for n in range(10**6): open(os.path.join(scratch, str(n)), 'w').close()",
        "path = scratch\nfor n in range(10**4):\n    path += '/d'\n    os.mkdir(path)\n"
        "    os.chdir('/')\ntime.sleep(60)",
    ],
    ids=["writes", "fallocates", "makes-inodes", "digs-deep"],
)
async def test_fills_the_disk(cell: Cell, how: str) -> None:
    limits = replace(LIMITS, output_bytes=8 * MIB, file_bytes=2 * MIB)
    seen, _ = await cell.run(how + "\ntime.sleep(60)", limits=limits)
    assert seen.cause is Cause.DISK_LIMIT


async def test_hides_files_in_a_closed_directory(cell: Cell) -> None:
    """A directory its owner closed is still counted by root, and counts as too much for others."""
    seen, _ = await cell.run(
        """
inside = os.path.join(scratch, "closed")
os.mkdir(inside)
for n in range(32):
    with open(os.path.join(inside, str(n)), "wb") as file:
        file.write(b"x" * 1048576)
    os.chmod(inside, 0)
    os.chmod(inside, 0o700)
os.chmod(inside, 0)
time.sleep(60)
""",
        limits=replace(LIMITS, output_bytes=8 * MIB, file_bytes=2 * MIB),
    )
    assert seen.cause is Cause.DISK_LIMIT


async def test_writes_one_file_too_large(cell: Cell) -> None:
    _, spec = await cell.run(
        """
import errno
try:
    with open(os.path.join(scratch, "big"), "wb") as file:
        file.truncate(1 << 40)
    leave("big", "made")
except OSError as error:
    leave("refused", errno.errorcode[error.errno])
""",
        ok=True,
    )
    assert (spec.paths.output / "refused").read_text() == "EFBIG"


async def test_fills_its_own_tmp_and_shared_memory(cell: Cell) -> None:
    assert cell.claims("tmp"), cell.levels
    _, spec = await cell.run(
        """
import errno
for folder in ("/tmp", "/dev/shm"):
    try:
        with open(folder + "/fill", "wb") as file:
            for _ in range(64):
                file.write(b"x" * 1048576)
                file.flush()
        leave(folder.replace("/", "_"), "filled")
    except OSError as error:
        leave(folder.replace("/", "_"), errno.errorcode[error.errno])
    os.unlink(folder + "/fill")
""",
        limits=replace(LIMITS, tmp_bytes=4 * MIB, shm_bytes=4 * MIB),
        ok=True,
    )
    assert (spec.paths.output / "_tmp").read_text() == "ENOSPC"
    assert (spec.paths.output / "_dev_shm").read_text() == "ENOSPC"


async def test_opens_too_many_files_and_dumps_no_core(cell: Cell) -> None:
    _, spec = await cell.run(
        """
import errno, resource
try:
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(100_000)]
except OSError as error:
    for fd in range(3, 4096):
        try: os.close(fd)
        except OSError: pass
    leave("files", errno.errorcode[error.errno])
leave("core", str(resource.getrlimit(resource.RLIMIT_CORE)[1]))
""",
        ok=True,
    )
    assert (spec.paths.output / "files").read_text() == "EMFILE"
    assert (spec.paths.output / "core").read_text() == "0"


async def test_exit_codes_that_look_like_causes(cell: Cell) -> None:
    for code in (124, 125, 126, 127, 137, 143):
        seen, _ = await cell.run(f"sys.exit({code})")
        assert (seen.exit_code, seen.cause) == (code, Cause.NONE)


# --- how it lives and dies


async def test_stops_itself_to_outlive_the_stop(cell: Cell) -> None:
    spec = cell.make(Program("import signal\nready()\nos.kill(os.getpid(), signal.SIGSTOP)"))
    await cell.backend.prepare(spec)
    await cell.backend.start(spec)
    async with asyncio.timeout(30):
        while b"ready" not in spec.paths.events.read_bytes():
            await asyncio.sleep(0.01)
        await cell.backend.stop(spec.ref, 0.2)
        seen = await cell.backend.wait(spec)
    assert seen.exit_code == 137


async def test_watcher_killed_by_the_host_takes_the_step_with_it(cell: Cell) -> None:
    spec = cell.make(
        Program(
            """
ready()
while True:
    with open(os.path.join(scratch, "heartbeat"), "a") as file:
        file.write("beat\\n")
    time.sleep(0.02)
"""
        )
    )
    await cell.backend.prepare(spec)
    await cell.backend.start(spec)
    async with asyncio.timeout(30):
        while b"ready" not in spec.paths.events.read_bytes():
            await asyncio.sleep(0.01)
        running = notes.read(str(spec.paths.state), notes.RUNNING)
        assert running is not None
        os.kill(running["pid"], signal.SIGKILL)
        seen = await cell.backend.wait(spec)
    assert (seen.exit_code, seen.cause) == (None, Cause.LOST)
    await asyncio.sleep(0.1)
    await cell.backend.remove(spec.ref)
    assert [group for group in running["groups"] if os.path.exists(group)] == []
    size = (spec.paths.scratch / "heartbeat").stat().st_size
    await asyncio.sleep(0.2)
    assert (spec.paths.scratch / "heartbeat").stat().st_size == size


@pytest.mark.slow
async def test_deadline_holds_while_no_daemon_is_there(cell: Cell) -> None:
    limits = replace(LIMITS, grace_s=0.2)
    spec = cell.make(Program("time.sleep(600)"), limits=limits)
    spec = replace(spec, deadline_at=datetime.now(UTC) + timedelta(seconds=0.5))
    await cell.backend.prepare(spec)
    await cell.backend.start(spec)
    async with asyncio.timeout(60):
        seen = await cell.backend.wait(spec)
    assert seen.exit_code == 128 + signal.SIGTERM
    assert "wall-clock" in seen.detail


async def test_input_planted_as_a_link_is_not_given(cell: Cell, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    spec = cell.make(Program(""))
    spec.paths.spec.unlink()
    spec.paths.spec.symlink_to(secret)
    with pytest.raises(BackendRejected):
        await cell.backend.prepare(spec)
    assert spec.ref.name not in await cell.backend.observe()


async def test_scratch_of_an_earlier_attempt_full_of_links_changes_nothing_outside(
    cell: Cell, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    before = outside.stat()
    spec = cell.make(Program("print('ran')"))
    (spec.paths.scratch / "link").symlink_to(outside)
    await cell.backend.prepare(spec)
    await cell.backend.start(spec)
    async with asyncio.timeout(60):
        assert (await cell.backend.wait(spec)).exit_code == 0
    after = outside.stat()
    assert (after.st_uid, after.st_mode, after.st_mtime) == (
        before.st_uid,
        before.st_mode,
        before.st_mtime,
    )


async def test_untrusted_script_is_refused_unless_allowed(cell: Cell, tmp_path: Path) -> None:
    spec = replace(cell.make(Program("print('ran')")), trusted=False)
    with pytest.raises(BackendRejected) as caught:
        await cell.backend.prepare(spec)
    assert caught.value.code == "untrusted_refused"
    assert "allow_untrusted" in caught.value.hint
    config = Config(index_dir=tmp_path / "i2", cache_dir=tmp_path / "c2", allow_untrusted=True)
    willing = ProcessBackend(config)
    await willing.open("willing")
    await willing.prepare(spec)
    await willing.start(spec)
    async with asyncio.timeout(60):
        assert (await willing.wait(spec)).exit_code == 0
    await willing.remove(spec.ref)


async def test_loader_variables_are_refused(cell: Cell) -> None:
    spec = replace(cell.make(Program("")), env={"LD_PRELOAD": "/tmp/evil.so"})
    with pytest.raises(BackendRejected):
        await cell.backend.prepare(spec)


async def test_no_thread_of_ours_is_needed_for_a_step_to_end(cell: Cell) -> None:
    """The daemon's end must not wait for a sandbox: nothing of a run holds a thread here."""
    spec = cell.make(Program("time.sleep(600)"))
    await cell.backend.prepare(spec)
    await cell.backend.start(spec)
    waiter = asyncio.create_task(cell.backend.wait(spec))
    await asyncio.sleep(0.1)
    names = [thread.name for thread in threading.enumerate() if not thread.daemon]
    assert all(name == "MainThread" or name.startswith("asyncio_") for name in names), names
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
