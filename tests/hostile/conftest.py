"""Sandboxes for attacks: small limits, and a backend whose watchdog looks often."""

from __future__ import annotations

import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_sdk.testing.backend import MakeSpec, SandboxFiles

MIB = 1024**2
CONFIG = Config(disk_poll_s=0.2, log_flood_bytes=8 * MIB, max_files=2000)


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
def instance() -> str:
    return f"hostile-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def make(host_folder: Path, docker_base_image: str, instance: str) -> MakeSpec:
    return MakeSpec(SandboxFiles(host_folder), docker_base_image, instance)


@pytest.fixture(scope="session")
def new_backend() -> Callable[[], DockerBackend]:
    def build() -> DockerBackend:
        return DockerBackend(DockerEngine(), CONFIG, NoEnvironments())  # type: ignore[arg-type]

    return build


class NoEnvironments:
    """Nothing is built in these tests."""
