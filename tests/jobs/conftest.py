"""A real daemon whose jobs are scripted; and a bare store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from trainbox.store import Store
from trainbox_sdk.testing import scripted_plugin
from trainbox_sdk.testing.daemon import DaemonProcess


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonProcess]:
    folder = tmp_path_factory.mktemp("jobs")
    plugins, env = scripted_plugin.install(folder / "plugin")
    with DaemonProcess(folder / "state", plugins_file=plugins, env=env) as running:
        yield running


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await Store.open(tmp_path / "state")
    yield opened
    await opened.close()
