"""Makes this folder's helper modules importable by its tests, and runs scripts for them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from script_runs import Play, player  # noqa: E402


@pytest.fixture
def play(tmp_path: Path) -> Play:
    """Return how to run a script."""
    return player(tmp_path)
