import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from engines import fake_engine, real_engine  # noqa: E402


@pytest.fixture(params=["fake", "real"])
async def engine(request, tmp_path):
    """Every test that takes this is a promise that the fake and the real engine both keep."""
    if request.param == "fake":
        made = fake_engine()
        yield made
        made.close()
        return
    async with real_engine(tmp_path) as real:
        yield real
