from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from trainbox.store import Store


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
async def store(state_dir: Path) -> AsyncIterator[Store]:
    opened = await Store.open(state_dir)
    yield opened
    await opened.close()
