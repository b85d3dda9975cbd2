"""A real engine that is restarted under a running sandbox: a second dockerd, of our own.

It has its own socket, state and bridge, so the engine of this host is left alone. Only root can
start one; elsewhere the same paths are covered by ``test_engine_trouble.py`` with a proxy.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_sdk.backends import Cause, Phase, SandboxSpec
from trainbox_sdk.errors import BackendUnavailable
from trainbox_sdk.testing import guest_programs as programs
from trainbox_sdk.testing.backend import MakeSpec, SandboxFiles
from trainbox_sdk.testing.guest_programs import Program

pytestmark = [
    pytest.mark.docker,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("dockerd") is None,
        reason="a second dockerd can be started by root alone, where dockerd is installed",
    ),
]

PRINTS_UNTIL_TOLD = Program(
    """
ready()
number = 0
while not os.path.exists(os.path.join(scratch, "go")):
    os.write(1, b"line %d\\n" % number)
    number += 1
    time.sleep(0.005)
leave("printed", str(number))
sys.exit(4)
"""
)


class OwnEngine:
    """A dockerd in a folder of its own.

    Args:
        live_restore: sandboxes go on while it restarts.
    """

    def __init__(self, folder: Path, *, live_restore: bool) -> None:
        self.folder = folder
        self.url = f"unix://{folder}/docker.sock"
        self.live_restore = live_restore
        self._bridge = f"tbx{uuid.uuid4().hex[:8]}"
        self._containerd: subprocess.Popen[bytes] | None = None
        self._dockerd: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Start containerd and dockerd, apart from each other as a service manager does."""
        if self._containerd is None:
            self._containerd = self._spawn(
                *("containerd", "--address", f"{self.folder}/containerd.sock"),
                *("--root", f"{self.folder}/containerd", "--state", f"{self.folder}/state"),
            )
            # With --bridge=none a second dockerd would delete the first one's docker0.
            subprocess.run(["ip", "link", "add", self._bridge, "type", "bridge"], check=True)
            address = ["addr", "add", "10.213.77.1/30", "dev", self._bridge]
            subprocess.run(["ip", *address], check=True)
        self._dockerd = self._spawn(
            *("dockerd", "--host", self.url, "--containerd", f"{self.folder}/containerd.sock"),
            *("--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/exec"),
            *("--pidfile", f"{self.folder}/pid", "--bridge", self._bridge),
            *("--iptables=false", "--ip-masq=false", "--ip-forward=false", "--log-level=warn"),
            *(["--live-restore"] if self.live_restore else []),
        )
        await self._answers()

    def kill(self) -> None:
        """Kill dockerd alone."""
        assert self._dockerd is not None
        self._dockerd.kill()
        self._dockerd.wait()

    def end(self) -> None:
        """End both and leave nothing behind."""
        for process in (self._dockerd, self._containerd):
            if process is not None:
                process.terminate()
                process.wait()
        subprocess.run(["ip", "link", "delete", self._bridge], check=True)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            where = line.split()[1]
            if where.startswith(f"{self.folder}/"):  # a dockerd that is killed leaves its mounts
                subprocess.run(["umount", where], check=True)
        shutil.rmtree(self.folder)

    def _spawn(self, *command: str) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log)

    async def _answers(self) -> None:
        engine = DockerEngine(self.url)
        try:
            async with asyncio.timeout(60):
                while True:
                    try:
                        return await engine.ping()
                    except BackendUnavailable:
                        await asyncio.sleep(0.1)
        finally:
            await engine.close()


@pytest.fixture(scope="module")
def image_tar(docker_base_image: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tar = tmp_path_factory.mktemp("image") / "image.tar"
    subprocess.run(["docker", "save", "-o", str(tar), docker_base_image], check=True)
    return tar


@pytest.fixture(params=[True, False], ids=["live-restore", "plain"])
async def own_engine(request: pytest.FixtureRequest, image_tar: Path) -> AsyncIterator[OwnEngine]:
    folder = Path(tempfile.mkdtemp(prefix="trainbox-dockerd-"))
    folder.chmod(0o755)
    engine = OwnEngine(folder, live_restore=request.param)
    try:
        await engine.start()
        load = ["docker", "--host", engine.url, "load", "-i", str(image_tar)]
        subprocess.run(load, check=True, capture_output=True)
        yield engine
        port = DockerEngine(engine.url)
        for container in await port.list_by_label({}):
            await port.remove(str(container["Id"]), force=True)
        await port.close()
    finally:
        engine.end()


@pytest.fixture
def spec(own_engine: OwnEngine, docker_base_image: str, instance: str) -> SandboxSpec:
    make = MakeSpec(SandboxFiles(own_engine.folder / "sandboxes"), docker_base_image, instance)
    return make(PRINTS_UNTIL_TOLD)


async def test_engine_restart_under_a_running_sandbox(
    own_engine: OwnEngine, spec: SandboxSpec, new_backend: Callable[..., Any], instance: str
) -> None:
    backend = new_backend(own_engine.url, reconnect_s=60)
    await backend.open(instance)
    await backend.prepare(spec)
    await backend.start(spec)
    async with asyncio.timeout(30):
        while b"ready" not in spec.paths.events.read_bytes():
            await asyncio.sleep(0.02)
    waiter = asyncio.create_task(backend.wait(spec))
    await asyncio.sleep(0.2)
    own_engine.kill()
    with pytest.raises(BackendUnavailable):
        await backend.observe()
    await own_engine.start()
    if own_engine.live_restore:
        assert (await backend.observe())[spec.ref.name].phase is Phase.RUNNING
    (spec.paths.scratch / "go").touch()
    async with asyncio.timeout(60):
        seen = await waiter
    if own_engine.live_restore:
        assert (seen.exit_code, seen.cause) == (4, Cause.NONE)
        printed = int((spec.paths.output / "printed").read_text())
        kept = spec.paths.log.read_bytes().splitlines()
        whole = programs.numbered(printed).splitlines()
        assert [line for line in whole if line in kept] == kept, "nothing torn, doubled, moved"
        # What an engine had read and not yet kept when it was killed is gone with it.
        assert len(kept) >= len(whole) - 1
    else:
        assert seen.cause is Cause.LOST, "never called failed"
