"""The sources of the third-party distribution, importable without installing it."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent

sys.path.insert(0, str(HERE / "trainbox-baseline" / "src"))
