"""The conformance suite of backends, against the real Docker Engine and the scripted fake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_plugins.docker_backend.testing import WarmDocker
from trainbox_sdk.backends import SandboxBackend, SandboxSpec
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
from trainbox_sdk.testing.backend import BackendContract
from trainbox_sdk.testing.fake_backend import FakeBackend, FakeHost
from trainbox_sdk.testing.guest_programs import Program


class TestFake(BackendContract):
    scripted = True
    unknown_environment = "fake:never-built"

    @pytest.fixture(autouse=True)
    def host(self) -> FakeHost:
        self._host = FakeHost()
        self._host.environments = {"fake:built"}
        return self._host

    @pytest.fixture
    def environment(self) -> str:
        return "fake:built"

    def make_backend(self) -> SandboxBackend:
        return FakeBackend(self._host)

    async def script(self, spec: SandboxSpec, program: Program) -> None:
        self._host.on(program.script, name=spec.ref.name)


@pytest.mark.docker
class TestDocker(BackendContract):
    @pytest.fixture
    def environment(self, docker_base_image: str) -> str:
        return docker_base_image

    def make_backend(self) -> SandboxBackend:
        config = Config(disk_poll_s=0.2)
        return DockerBackend(DockerEngine(), config, NoEnvironments())


@pytest.mark.docker
class TestDockerWarm(TestDocker):
    """The same promises, kept by sandboxes that stood by before they had their job."""

    # What is refused is refused before anyone looks for one that stands by.
    test_unknown_environment_is_refused = None  # type: ignore[assignment]
    test_missing_path_is_refused = None  # type: ignore[assignment]
    test_more_gpus_than_there_are_is_refused = None  # type: ignore[assignment]
    test_null_byte_is_refused = None  # type: ignore[assignment]
    test_start_of_what_was_never_prepared_is_refused = None  # type: ignore[assignment]

    @pytest.fixture(autouse=True)
    def _home(self, tmp_path: Path) -> None:
        self.home = tmp_path / "home"

    def make_backend(self) -> SandboxBackend:
        return WarmDocker(self.home, NoEnvironments(), Config(disk_poll_s=0.2))


class NoEnvironments:
    """The suite starts what it is given; building is another suite's matter."""

    async def build(self, environment: Environment, report: BuildProgress) -> BuiltEnvironment:
        raise AssertionError("nothing is built here")

    async def built(self) -> Sequence[BuiltEnvironment]:
        return ()
