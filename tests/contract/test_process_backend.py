"""The conformance suite of backends, against real confined processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainbox_plugins.environments.testing import tiny_environment
from trainbox_plugins.environments.wheelhouse import Wheelhouse
from trainbox_plugins.process_backend.backend import ProcessBackend
from trainbox_plugins.process_backend.config import Config
from trainbox_plugins.process_backend.venvs import Venvs
from trainbox_sdk.backends import SandboxBackend
from trainbox_sdk.testing.backend import BackendContract


@pytest.fixture(scope="session")
def venv(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("tiny")
    venvs = Venvs(folder / "venvs", Wheelhouse(folder / "wheels", folder), {})
    return venvs.build(tiny_environment(folder), lambda fraction, sentence: None).reference


class TestProcess(BackendContract):
    unknown_environment = "/nonexistent/venv"
    cgroups = True

    @pytest.fixture
    def environment(self, venv: str) -> str:
        return venv

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path

    def make_backend(self) -> SandboxBackend:
        config = Config(
            index_dir=self.folder / "index",
            cache_dir=self.folder / "cache",
            cgroups=self.cgroups,
        )
        return ProcessBackend(config)


class TestProcessWithoutControlGroups(TestProcess):
    """The same promises, with the limits watched instead of enforced by the kernel."""

    cgroups = False
