"""Arenas for attacks: small limits, and backends whose watch looks often."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from arena import Arena, Lures, NewArena

from trainbox.blobs import BlobStore
from trainbox_plugins.docker_backend import engine_host
from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config as DockerConfig
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_plugins.docker_backend.testing import WarmDocker
from trainbox_plugins.environments.testing import tiny_environment
from trainbox_plugins.environments.wheelhouse import Wheelhouse
from trainbox_plugins.process_backend.backend import ProcessBackend
from trainbox_plugins.process_backend.config import Config as ProcessConfig
from trainbox_plugins.process_backend.venvs import Venvs
from trainbox_sdk.backends import SandboxBackend
from trainbox_sdk.testing.backend import MIB, MakeSpec, SandboxFiles

DOCKER = DockerConfig(disk_poll_s=0.2, log_flood_bytes=8 * MIB, max_files=2000)


class NoEnvironments:
    """Nothing is built in these tests."""


@pytest.fixture(scope="module")
def host_folder() -> Iterator[Path]:
    """A folder any user may enter; removed whatever hostile code has made of it."""
    folder = Path(tempfile.mkdtemp(prefix="trainbox-hostile-"))
    folder.chmod(0o755)
    yield folder
    # Thousands of nested directories: rm walks them without recursion.
    subprocess.run(["chmod", "-R", "u+rwx", str(folder)], check=True)
    subprocess.run(["rm", "-rf", "--", str(folder)], check=True)


@pytest.fixture(scope="module")
def venv(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    venvs = Venvs(folder / "venvs", Wheelhouse(folder / "wheels", folder), {})
    return venvs.build(tiny_environment(folder), lambda fraction, sentence: None).reference


@pytest.fixture(scope="module")
def new_arena(request: pytest.FixtureRequest, host_folder: Path) -> NewArena:
    """Return what opens an arena of a kind.

    ``docker-cold``; ``docker-warm``, each of whose sandboxes has stood by; ``docker-filtered``,
    with the engine's own profile and the filter from inside; ``docker-open``, with no filter at
    all; ``docker-remapped`` and ``gvisor`` on another engine, given by its URL and an image there;
    ``process``; ``process-bare``, without cgroups and without disks of fixed size.
    """

    def on_engine(kind: str, url: str) -> SandboxBackend:
        settings = {"socket_url": url, "runtime": "runsc" if kind == "gvisor" else None}
        config = DOCKER.model_copy(update=settings)
        return DockerBackend(DockerEngine(url), config, NoEnvironments())  # type: ignore[arg-type]

    def unfiltered(folder: Path) -> SandboxBackend:
        profile = folder / "everything.json"
        tables = {
            "architecture": "SCMP_ARCH_X86_64",
            "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        }
        profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "archMap": [tables]}))
        config = DOCKER.model_copy(update={"seccomp_profile": profile})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine_host, "filters_inside", lambda config: False)
            return DockerBackend(DockerEngine(), config, NoEnvironments())  # type: ignore[arg-type]

    def backend_of(kind: str, folder: Path) -> tuple[SandboxBackend, str]:
        if kind.startswith("process"):
            config = ProcessConfig(
                cgroups=kind == "process",
                index_dir=folder / "index",
                cache_dir=folder / "cache",
                output_entries=2000,
                log_flood_bytes=8 * MIB,
            )
            return ProcessBackend(config), request.getfixturevalue("venv")
        image = request.getfixturevalue("docker_base_image")
        if kind == "docker-open":
            return unfiltered(folder), image
        profile: Literal["own", "engine"] = "engine" if kind == "docker-filtered" else "own"
        config = DOCKER.model_copy(update={"seccomp_profile": profile})
        if kind == "docker-warm":
            return WarmDocker(folder / "home", NoEnvironments(), config), image  # type: ignore[arg-type]
        return DockerBackend(DockerEngine(), config, NoEnvironments()), image  # type: ignore[arg-type]

    @asynccontextmanager
    async def opened(kind: str, url: str = "", image: str = "") -> AsyncIterator[Arena]:
        folder = host_folder / kind
        folder.mkdir()
        if url:
            backend, environment = on_engine(kind, url), image
        else:
            backend, environment = backend_of(kind, folder)
        instance = f"hostile-{uuid.uuid4().hex[:8]}"
        await backend.open(instance)
        lures = Lures(folder)
        make = MakeSpec(SandboxFiles(folder / "sandboxes"), environment, instance)
        sized = (await backend.probe()).sees_mounts and kind != "process-bare"
        disks = folder / "disks" if sized else None
        start = kind.removeprefix("docker-") if kind in {"docker-cold", "docker-warm"} else ""
        blobs = BlobStore(folder / "blobs")
        arena = Arena(kind, backend, make, lures, blobs, start=start, disks=disks)
        yield arena
        arena.close()
        for seen in (await backend.observe()).values():
            await backend.remove(seen.ref)
        await backend.close()

    return opened
