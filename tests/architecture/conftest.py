"""What the repository consists of."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("client", "daemon", "plugins", "sandbox")


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def tracked() -> list[Path]:
    """Every file that belongs to the repository: git's answer, or all files of an unpacked sdist."""
    if (ROOT / ".git").exists():
        listing = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others"]
        done = subprocess.run([*listing, "--exclude-standard"], capture_output=True, check=True)
        names = done.stdout.decode().split("\0")
        return [ROOT / name for name in sorted(filter(None, names)) if (ROOT / name).is_file()]
    return sorted(path for path in ROOT.rglob("*") if path.is_file() and ".venv" not in path.parts)


@pytest.fixture(scope="session")
def modules() -> list[Path]:
    """Every Python module of ours that ships."""
    return sorted(path for name in SOURCES for path in (ROOT / name).rglob("*.py"))
