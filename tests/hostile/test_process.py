"""What the process backend alone has: its watcher, its files, and whom it takes scripts from.

The attacks that every backend meets are in ``catalogue.py``.
"""

from __future__ import annotations

import asyncio
import os
import signal
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
from trainbox_sdk.backends import Cause, Level, Limits, Observation, SandboxSpec
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


# --- privileges


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


# --- how much


async def test_exit_codes_that_look_like_causes(cell: Cell) -> None:
    for code in (125, 143):
        seen, _ = await cell.run(f"sys.exit({code})")
        assert (seen.exit_code, seen.cause) == (code, Cause.NONE)


# --- how it lives and dies


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
