"""The fake engine and the real one, in this process, with one task that both take."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from trainbox.app import open_house
from trainbox.settings import Settings
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import TaskInfo
from trainbox_sdk.testing import scripted_plugin
from trainbox_sdk.testing.fake_engine import FakeEngine

WORKS = frozenset({"read", "submit"})
ANN = Principal("ann", "token of ann", WORKS)
ANNS_CLERK = Principal("ann", "token of ann", WORKS, user="clerk@ann.example")
BOB = Principal("bob", "token of bob", WORKS)
ROOT = Principal("root", "root", frozenset({"admin"}))
TASK = scripted_plugin.NAME


def fake_engine() -> FakeEngine:
    engine = FakeEngine()
    engine.further_tasks = [TaskInfo(TASK, "", "", {}, False, Resources(), "test")]
    return engine


@asynccontextmanager
async def real_engine(root: Path) -> AsyncIterator[Engine]:
    """The whole daemon but for its web server and its loops: what is queued stays queued."""
    if not (root / "plugins").exists():
        scripted_plugin.install(root / "plugins")
    sys.path.insert(0, str(root / "plugins"))
    settings = Settings(
        state_dir=root / "state",
        plugins_file=root / "plugins" / "plugins.toml",
        backend="fake",
        free_bytes_floor=0,
    )
    settings.state_dir.mkdir(mode=0o700, exist_ok=True)
    try:
        async with open_house(settings) as house:
            yield house.engine
    finally:
        sys.path.remove(str(root / "plugins"))


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
