"""A world for the engine: a fresh state directory, a scripted host, a task that trains."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from rooms import ACCEPTS, TRAINS, CountingHost, Drawn, World, a_step  # noqa: E402

from trainbox.engine import health  # noqa: E402
from trainbox.engine.staging import CodeStage  # noqa: E402
from trainbox_sdk.tasks import ArtifactCheck  # noqa: E402


@pytest.fixture(autouse=True)
def every_look_is_fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Looks are remembered for seconds; a test that changes the world wants it seen at once."""
    monkeypatch.setattr(health, "FRESH_S", -1.0)


@pytest.fixture(scope="session")
def code_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Staged code is content-addressed, so all tests may share what is staged once, here.

    A thread that a killed daemon leaves at work would not outlive a real one's process.
    """
    root = tmp_path_factory.mktemp("code")
    asyncio.run(CodeStage(root).stage(["trainbox_guest.run"]))
    return root


@pytest.fixture
def host() -> CountingHost:
    host = CountingHost(TRAINS)
    host.on(ACCEPTS, when=lambda spec: spec.ref.role.startswith("check"))
    return host


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """A state directory in memory where there is some: hundreds of daemons start here, and what
    survives a power cut is tested elsewhere."""
    shared_memory = Path("/dev/shm")
    if not os.access(shared_memory, os.W_OK):
        yield tmp_path / "state"
        return
    with tempfile.TemporaryDirectory(dir=shared_memory, prefix="trainbox-test-") as folder:
        yield Path(folder) / "state"


@pytest.fixture
def world(tmp_path: Path, state_dir: Path, code_dir: Path, host: CountingHost) -> World:
    requirements = tmp_path / "requirements.lock"
    requirements.write_text("nothing==1 --hash=sha256:0\n")
    world = World(state_dir, code_dir, host, requirements)
    world.install(Drawn("train", a_step()))
    world.checks["look"] = ArtifactCheck(
        "look", "trainbox_guest.run:look", ("trainbox_guest.run",), "plain", timeout_s=60.0
    )
    return world
