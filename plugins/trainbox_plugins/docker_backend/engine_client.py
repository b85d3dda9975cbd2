"""The engine port over docker-py: short calls in a few threads, long answers in the caller's."""

# ruff: noqa: D102 - the verbs are documented once, in EnginePort

from __future__ import annotations

import json
import math
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import docker
import requests
from docker.errors import APIError, DockerException
from docker.transport import UnixHTTPAdapter

from trainbox_plugins.docker_backend.call_threads import CallThreads
from trainbox_plugins.docker_backend.engine_port import (
    BuildLine,
    Clash,
    EngineRefused,
    Json,
    LogStream,
    NotThere,
)
from trainbox_plugins.docker_backend.engine_streams import (
    Exchange,
    FrameStream,
    container_target,
    no_answer,
    reach,
    refusal,
)
from trainbox_sdk.errors import BackendUnavailable

T = TypeVar("T")


class DockerEngine:
    """A Docker Engine on this host's Unix socket.

    Args:
        socket_url: ``unix:///path``; bind mounts need the engine on the same host.
        deadline_s: for every short call, the time it waits for a thread included.
        start_deadline_s: for creating and starting, which do the kernel's work.
        threads: most short calls at once.
    """

    def __init__(
        self,
        socket_url: str = "unix:///var/run/docker.sock",
        *,
        deadline_s: float = 15.0,
        start_deadline_s: float = 60.0,
        threads: int = 8,
    ) -> None:
        self._url = socket_url
        self._path = socket_url.removeprefix("unix://")
        self._deadline_s = deadline_s
        self._start_deadline_s = start_deadline_s
        self._threads = CallThreads(threads, "docker-call")
        # docker-py's client is not safe to share between threads (docker-py issue 619).
        self._of_thread = threading.local()
        self._clients: list[Any] = []
        self._version: str | None = None
        self._open: weakref.WeakSet[Exchange] = weakref.WeakSet()

    async def close(self) -> None:
        for exchange in list(self._open):
            exchange.close()
        self._threads.close()
        for client in self._clients:
            client.close()

    async def ping(self) -> None:
        await self._call(lambda client: client.ping())

    async def info(self) -> Json:
        info: Json = await self._call(lambda client: client.info())
        return info

    # --- containers

    async def create(self, name: str, body: Json) -> str:
        answer = await self._call(
            lambda client: client.create_container_from_config(dict(body), name),
            self._start_deadline_s,
        )
        return str(answer["Id"])

    async def start(self, container: str) -> None:
        await self._call(lambda client: client.start(container), self._start_deadline_s)

    async def inspect(self, container: str) -> Json | None:
        try:
            found: Json = await self._call(lambda client: client.inspect_container(container))
        except NotThere:
            return None
        return found

    async def kill(self, container: str, signal: str) -> bool:
        try:
            await self._call(lambda client: client.kill(container, signal))
        except (NotThere, Clash):
            return False
        return True

    async def remove(self, container: str, *, force: bool = False) -> None:
        try:
            await self._call(
                lambda client: client.remove_container(container, v=True, force=force),
                self._start_deadline_s,
            )
        except NotThere:
            return
        except Clash as clash:
            if "in progress" not in clash.explanation:
                raise

    async def list_by_label(self, labels: Mapping[str, str]) -> Sequence[Json]:
        wanted = [f"{key}={value}" for key, value in labels.items()]
        found: Sequence[Json] = await self._call(
            lambda client: client.containers(all=True, filters={"label": wanted})
        )
        return found

    async def commit(self, container: str, *, changes: Sequence[str] = ()) -> str:
        answer = await self._call(
            lambda client: client.commit(container, changes=list(changes)), 600.0
        )
        return str(answer["Id"])

    # --- blocking

    def attach(self, container: str) -> LogStream:
        query = {"stream": "1", "stdout": "1", "stderr": "1"}
        return FrameStream(self._exchange("POST", container_target(container, "attach"), query))

    def kept_output(self, container: str, *, follow: bool) -> LogStream:
        query = {"stdout": "1", "stderr": "1", "follow": str(int(follow)), "timestamps": "1"}
        target = container_target(container, "logs")
        return FrameStream(self._exchange("GET", target, query, patient=follow), stamped=True)

    def wait_exit(self, container: str) -> int:
        exchange = self._exchange(
            "POST", container_target(container, "wait"), {"condition": "not-running"}
        )
        body = exchange.read()
        exchange.dispose()
        try:
            return int(json.loads(body)["StatusCode"])
        except (ValueError, KeyError, TypeError) as error:
            raise BackendUnavailable("the engine went away during a wait") from error

    # --- images

    async def image_inspect(self, reference: str) -> Json | None:
        try:
            found: Json = await self._call(lambda client: client.inspect_image(reference))
        except NotThere:
            return None
        return found

    async def image_list(self, labels: Mapping[str, str]) -> Sequence[Json]:
        wanted = [f"{key}={value}" for key, value in labels.items()]
        found: Sequence[Json] = await self._call(
            lambda client: client.images(filters={"label": wanted})
        )
        return found

    async def image_build(
        self,
        context: IO[bytes],
        *,
        labels: Mapping[str, str],
        build_args: Mapping[str, str],
        network: str = "default",
        report: BuildLine | None = None,
        deadline_s: float = 3600.0,
    ) -> str:
        def build(client: Any) -> str:
            answers = client.build(
                fileobj=context,
                custom_context=True,
                labels=dict(labels),
                buildargs=dict(build_args),
                network_mode=network,
                rm=True,
                forcerm=True,
                decode=True,
                timeout=None,
            )
            return _image_of_build(answers, report)

        return str(await self._call(build, deadline_s))

    async def image_import(
        self, root: Path, *, changes: Sequence[str] = (), deadline_s: float = 3600.0
    ) -> str:
        answer = await self._call(
            lambda client: client.import_image(src=str(root), changes=list(changes)), deadline_s
        )
        return _image_of_import(answer)

    async def image_pull(self, reference: str, *, deadline_s: float = 3600.0) -> None:
        await self._call(lambda client: client.pull(reference), deadline_s)

    async def image_tag(self, reference: str, repository: str, tag: str) -> None:
        await self._call(lambda client: client.tag(reference, repository, tag))

    async def image_remove(self, reference: str) -> None:
        try:
            # Without noprune an untagged base would go with the last image built on it.
            await self._call(
                lambda client: client.remove_image(reference, noprune=True), self._start_deadline_s
            )
        except NotThere:
            return

    # --- inside

    def _exchange(
        self, method: str, target: str, query: dict[str, str], *, patient: bool = True
    ) -> Exchange:
        exchange = Exchange(
            self._path, method, target, query, timeout_s=self._deadline_s, patient=patient
        )
        self._open.add(exchange)
        return exchange

    async def _call(self, verb: Callable[[Any], Any], deadline_s: float | None = None) -> Any:
        return await self._in_thread(lambda: self._answer(verb), deadline_s or self._deadline_s)

    async def _in_thread(self, work: Callable[[], T], deadline_s: float) -> T:
        try:
            return await self._threads.run(work, deadline_s)
        except TimeoutError as error:
            raise BackendUnavailable(
                f"the Docker Engine gave no answer within {deadline_s:g} s",
                hint="a hung container runtime does this: look at the engine's journal",
            ) from error

    def _answer(self, verb: Callable[[Any], Any]) -> Any:
        # A connection of our own first: it costs microseconds, tells a dead engine's causes apart,
        # and keeps docker-py from leaking the socket it could not connect.
        reach(self._path)
        try:
            return verb(self._client())
        except APIError as error:
            status = error.response.status_code if error.response is not None else 500
            raise refusal(status, str(error.explanation)) from error
        except (requests.RequestException, DockerException, OSError) as error:
            raise BackendUnavailable(no_answer(self._path, error)) from error

    def _client(self) -> Any:
        client = getattr(self._of_thread, "client", None)
        if client is None:
            client = docker.APIClient(
                base_url=self._url,
                version=self._version or "auto",
                timeout=math.ceil(self._start_deadline_s),
            )
            # The library keeps a connection for each of the last 25 URLs, and every container has
            # URLs of its own: in each thread idle connections that nobody uses again. (Its argument
            # num_pools is without effect in 7.2.)
            socket_url = self._url.replace("unix://", "http+unix://", 1)
            adapter = UnixHTTPAdapter(socket_url, client.timeout, pool_connections=1)
            client.mount("http+docker://", adapter)
            # An ALL_PROXY of the host must not catch calls to a Unix socket.
            client.trust_env = False
            self._version = client.api_version
            self._of_thread.client = client
            self._clients.append(client)
        return client


def _image_of_build(answers: Any, report: BuildLine | None) -> str:
    image, last = "", ""
    for answer in answers:
        if "error" in answer:
            raise EngineRefused(500, f"{answer['error']}\n{last}".strip())
        image = (answer.get("aux") or {}).get("ID", image)
        line = str(answer.get("stream", "")).rstrip()
        if line:
            last = line
            if report is not None:
                report(line)
    if not image:
        raise EngineRefused(500, f"the build ended without an image: {last}")
    return image


def _image_of_import(answer: str) -> str:
    for line in answer.splitlines():
        message = json.loads(line)
        if "error" in message:
            raise EngineRefused(500, str(message["error"]))
        if str(message.get("status", "")).startswith("sha256:"):
            return str(message["status"])
    raise EngineRefused(500, "the import ended without an image")
