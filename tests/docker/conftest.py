"""A Docker socket that misbehaves on demand, in front of the real engine."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from trainbox_plugins.docker_backend.backend import DockerBackend
from trainbox_plugins.docker_backend.config import Config
from trainbox_plugins.docker_backend.engine_client import DockerEngine
from trainbox_sdk.testing.backend import MakeSpec, SandboxFiles

ENGINE = "/var/run/docker.sock"


class ChaosSocket:
    """A proxy on a Unix socket.

    Attributes:
        lose_answer_to: the next request whose head contains these bytes reaches the engine, and
            its answer is thrown away with the connection.
        silent: connections are taken and never answered.
        garbage: what to answer instead of asking the engine.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lose_answer_to = b""
        self.silent = False
        self.garbage = b""
        self.requests: list[bytes] = []
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def url(self) -> str:
        return f"unix://{self.path}"

    async def up(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def down(self, *, leave_socket: bool = False) -> None:
        """Stop listening and break every connection, as an engine that is killed."""
        assert self._server is not None
        self._server.close()
        tasks = list(self._open)
        self.cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not leave_socket:
            self.path.unlink(missing_ok=True)

    def cut(self) -> None:
        for writer in self._open.values():
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = writer
        try:
            if self.silent:
                await asyncio.sleep(3600)
            elif self.garbage:
                await reader.read(65536)
                writer.write(self.garbage)
                await writer.drain()
            else:
                await self._forward(reader, writer)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            del self._open[task]
            writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(ENGINE)
        losing = asyncio.Event()

        async def requests() -> None:
            while data := await reader.read(65536):
                self.requests.append(data.split(b"\r\n", 1)[0])
                if self.lose_answer_to and self.lose_answer_to in data:
                    self.lose_answer_to = b""
                    losing.set()
                up_writer.write(data)
                await up_writer.drain()
            if not losing.is_set():
                up_writer.write_eof()

        asking = asyncio.create_task(requests())
        try:
            while data := await up_reader.read(65536):
                if losing.is_set():
                    writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            up_writer.close()
            await up_writer.wait_closed()


@pytest.fixture
async def chaos(tmp_path: Path) -> AsyncIterator[ChaosSocket]:
    socket = ChaosSocket(tmp_path / "docker.sock")
    await socket.up()
    yield socket
    with contextlib.suppress(Exception):
        await socket.down()


@pytest.fixture
def instance() -> str:
    return f"test-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def make(tmp_path: Path, docker_base_image: str, instance: str) -> MakeSpec:
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o011)
    return MakeSpec(SandboxFiles(tmp_path / "sandboxes"), docker_base_image, instance)


class NoEnvironments:
    """Nothing is built in these tests."""


NewBackend = Callable[..., DockerBackend]


@pytest.fixture
async def new_backend(instance: str) -> AsyncIterator[NewBackend]:
    """Makes backends; whatever they leave of this instance is removed through the real socket."""
    made: list[DockerBackend] = []

    def build(url: str = f"unix://{ENGINE}", **settings: object) -> DockerBackend:
        config = Config(socket_url=url, **settings)  # type: ignore[arg-type]
        engine = DockerEngine(
            url, deadline_s=config.call_deadline_s, start_deadline_s=config.start_deadline_s
        )
        made.append(DockerBackend(engine, config, NoEnvironments()))  # type: ignore[arg-type]
        return made[-1]

    yield build
    for backend in made:
        await backend.close()
    sweeper = DockerEngine()
    for container in await sweeper.list_by_label({"trainbox.instance": instance}):
        await sweeper.remove(str(container["Id"]), force=True)
    await sweeper.close()
