"""Disks as a step meets them: in a real container and in a real confined process."""

from __future__ import annotations

import os
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from trainbox.disks import Disks, DiskSize, kernel
from trainbox.engine.sandboxes import Request, SandboxFiles
from trainbox.engine.writable import full
from trainbox_guest.protocol import GuestSpec
from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config as DockerConfig
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_plugins.environments.testing import tiny_environment
from trainbox_plugins.environments.wheelhouse import Wheelhouse
from trainbox_plugins.process_backend.backend import ProcessBackend
from trainbox_plugins.process_backend.config import Config as ProcessConfig
from trainbox_plugins.process_backend.venvs import Venvs
from trainbox_sdk.backends import Cause, Limits, Observation, SandboxBackend, SandboxRef
from trainbox_sdk.testing.sandbox_case import LIMITS

MIB = 1024**2
SIZE = DiskSize(48 * MIB, 1024)


@dataclass
class Site:
    """A backend, its files on disks, and a way to run a program as a step does."""

    backend: SandboxBackend
    disks: Disks
    files: SandboxFiles
    environment: str
    instance: str
    code: Path

    def spec(self, program: str, attempt: str = "att1", *, limits: Limits = LIMITS):
        request = Request(
            ref=SandboxRef(self.instance, "job_1", f"{attempt}{self.instance[-4:]}"),
            guest=GuestSpec(entry="x:y", task="t", params={}, job={}, cpus=1.0, memory_bytes=MIB),
            limits=limits,
            environment=self.environment,
            code=self.code,
            scratch_key="stp_1",
            deadline_at=datetime.now(UTC) + timedelta(hours=1),
            sized=True,
        )
        spec = self.files.build(request)
        object.__setattr__(spec, "argv", ("-c", program))
        return spec

    async def run(self, program: str, attempt: str = "att1") -> tuple[Observation, object]:
        spec = self.spec(program, attempt)
        await self.backend.prepare(spec)
        await self.backend.start(spec)
        return await self.backend.wait(spec), spec


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    venvs = Venvs(folder / "venvs", Wheelhouse(folder / "wheels", folder), {})
    return venvs.build(tiny_environment(folder), lambda fraction, sentence: None).reference


@pytest.fixture(scope="module")
def process_backend(tmp_path_factory: pytest.TempPathFactory) -> ProcessBackend:
    """One for all tests: it attacks itself once, which takes a second."""
    folder = tmp_path_factory.mktemp("process")
    return ProcessBackend(
        ProcessConfig(index_dir=folder / "index", cache_dir=folder / "cache", output_entries=10)
    )


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o011)
    yield tmp_path / "state"


@pytest.fixture(params=[pytest.param("docker", marks=pytest.mark.docker), "process"])
async def site(request: pytest.FixtureRequest, state: Path) -> AsyncIterator[Site]:
    instance = f"test-{uuid.uuid4().hex[:12]}"
    backend: SandboxBackend
    if request.param == "docker":
        environment = request.getfixturevalue("docker_base_image")
        config = DockerConfig()
        backend = DockerBackend(DockerEngine(), config, None)  # type: ignore[arg-type]
    else:
        environment = request.getfixturevalue("venv")
        backend = request.getfixturevalue("process_backend")
    (state / "code").mkdir(parents=True)
    await backend.open(instance, None)
    disks = Disks(state / "disks", SIZE, 0)
    disks.open()
    assert (await backend.probe()).sees_mounts
    yield Site(backend, disks, SandboxFiles(state, disks), environment, instance, state / "code")
    for seen in (await backend.observe()).values():
        await backend.remove(seen.ref)
    await backend.close()
    for key in disks.keys():
        disks.discard(key)


WRITE = """
import os, sys
path = os.path.join(os.environ['MODEL_OUTPUT_PATH'], 'big')
with open(path, 'wb', buffering=0) as file:
    while True:
        file.write(b'x' * 1048576)
"""
RESERVE = """
import os
with open(os.path.join(os.environ['MODEL_OUTPUT_PATH'], 'big'), 'wb') as file:
    os.posix_fallocate(file.fileno(), 0, 60 * 1048576)
"""
MANY = """
import os
for number in range(100000):
    open(os.path.join(os.environ['MODEL_OUTPUT_PATH'], str(number)), 'w').close()
"""


@pytest.mark.hostile
async def test_a_writer_that_never_stops_gets_what_the_disk_has(site: Site) -> None:
    seen, spec = await site.run(WRITE)
    assert (seen.exit_code, seen.cause) == (1, Cause.NONE)
    assert "No space left" in spec.paths.log.read_text()
    assert 30 * MIB < (spec.paths.output / "big").stat().st_size <= SIZE.bytes
    assert full(spec) == "its disk of 48 MiB is full", os.statvfs(spec.paths.output)


@pytest.mark.hostile
async def test_a_reservation_in_one_call_is_refused(site: Site) -> None:
    seen, spec = await site.run(RESERVE)
    assert seen.exit_code == 1
    assert "No space left" in spec.paths.log.read_text()
    assert site.disks.room("stp_1") <= SIZE.bytes


@pytest.mark.hostile
async def test_files_by_the_hundred_thousand_end_at_the_limit(site: Site) -> None:
    seen, spec = await site.run(MANY)
    assert seen.exit_code == 1
    assert len(list(spec.paths.output.iterdir())) < SIZE.inodes
    assert full(spec).startswith("its disk holds no further file")


@pytest.mark.hostile
async def test_the_top_of_the_disk_can_be_neither_seen_nor_changed(site: Site) -> None:
    program = """
import os
out = os.environ['MODEL_OUTPUT_PATH']
for action in (
    lambda: os.rename(out, out + '-gone'),
    lambda: os.mkdir(os.path.join(out, '..', 'planted')),
    lambda: os.symlink('/etc', os.path.join(out, '..', 'planted')),
    lambda: os.rmdir(out),
):
    try:
        action()
    except OSError as error:
        print('refused', error.errno)
"""
    seen, spec = await site.run(program)
    assert seen.exit_code == 0
    assert spec.paths.log.read_text().count("refused") == 4
    top = site.disks.point("stp_1")
    assert {path.name for path in top.iterdir()} == {
        "lost+found",
        "scratch",
        spec.paths.output.parent.name,
    }


async def test_the_next_attempt_finds_the_scratch_and_none_of_the_output(site: Site) -> None:
    keep = """
import os, sys
with open(os.path.join(os.environ['MODEL_OUTPUT_PATH'], 'left'), 'w') as file:
    file.write('x')
with open(os.path.join(os.environ['TRAINBOX_SCRATCH'], 'journal'), 'a') as file:
    file.write('trial\\n')
print(open(os.path.join(os.environ['TRAINBOX_SCRATCH'], 'journal')).read().count('trial'))
print(sorted(os.listdir(os.environ['MODEL_OUTPUT_PATH'])))
"""
    first, spec = await site.run(keep)
    assert first.exit_code == 0, spec.paths.log.read_text()
    await site.backend.remove(spec.ref)
    site.files.writable.discard("stp_1", site.files.folder(spec.ref), keep_scratch=True)
    assert site.disks.mounted() == set()
    second, again = await site.run(keep, "att2")
    assert again.paths.log.read_text() == "2\n['left']\n"
    assert not spec.paths.output.exists()
    assert again.disk_is_sized


async def test_a_daemon_that_starts_again_reads_what_the_sandbox_wrote_meanwhile(
    site: Site,
) -> None:
    program = """
import os, time
flag = os.path.join(os.environ['TRAINBOX_SCRATCH'], 'go')
while not os.path.exists(flag):
    time.sleep(0.01)
with open(os.path.join(os.environ['MODEL_OUTPUT_PATH'], 'late'), 'w') as file:
    file.write('written while the daemon was away')
"""
    spec = site.spec(program)
    await site.backend.prepare(spec)
    await site.backend.start(spec)
    disks = Disks(site.disks.point("x").parent, SIZE, 0)  # a new daemon, which knows nothing
    disks.open()
    files = SandboxFiles(site.disks.point("x").parent.parent, disks)
    site.files = files
    found = site.spec(program)
    assert found.paths == spec.paths
    assert found.disk_is_sized
    (found.paths.scratch / "go").touch()
    seen = await site.backend.wait(found)
    assert seen.exit_code == 0
    assert (found.paths.output / "late").read_text() == "written while the daemon was away"
    assert len(kernel.loop_devices_of(disks.point("stp_1").with_suffix(".img"))) == 1


async def test_discarded_while_the_sandbox_lives_its_room_comes_back_with_its_end(
    site: Site,
) -> None:
    program = "import os, time; os.chdir(os.environ['MODEL_OUTPUT_PATH']); time.sleep(600)"
    spec = site.spec(program)
    await site.backend.prepare(spec)
    await site.backend.start(spec)
    image = site.disks.point("stp_1").with_suffix(".img")
    site.disks.discard("stp_1")
    assert not image.exists()
    assert site.disks.mounted() == set()
    await site.backend.remove(spec.ref)
    assert kernel.loop_devices_of(Path(f"{image} (deleted)")) == []


async def test_after_a_reboot_the_disk_is_mounted_again(site: Site) -> None:
    spec = site.spec("print(1)")
    (spec.paths.scratch / "journal").write_text("kept")
    kernel.unmount(site.disks.point("stp_1"))  # what a reboot does to mounts
    again = site.spec("print(1)")
    assert again.paths == spec.paths
    assert (again.paths.scratch / "journal").read_text() == "kept"


async def test_an_attempt_that_an_older_daemon_began_keeps_its_directories(site: Site) -> None:
    plain = SandboxFiles(site.disks.point("x").parent.parent)
    with_disks, site.files = site.files, plain
    spec = site.spec("print(1)")
    site.files = with_disks
    adopted = site.spec("print(1)")
    assert adopted.paths == spec.paths
    assert not adopted.disk_is_sized
    retried = site.spec("print(1)", "att2")
    assert retried.paths.scratch == spec.paths.scratch
    assert not retried.disk_is_sized
