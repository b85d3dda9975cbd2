"""A daemon, for threads (:class:`Client`) and for event loops (:class:`AsyncClient`)."""

from __future__ import annotations

from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from trainbox_client.assets import Assets, AsyncAssets
from trainbox_client.datasets import AsyncDatasets, Datasets
from trainbox_client.documents import Document
from trainbox_client.jobs import AsyncJob, AsyncJobs, Job, Jobs
from trainbox_client.locate import locate
from trainbox_client.models import AsyncModels, Models
from trainbox_client.scripts import File, run_script
from trainbox_client.transport import Request, Steps, Transport, awaiting, blocking


class BaseClient:
    """What both clients are made of.

    Args:
        url: ``http://host:port`` or ``unix:///path``; else ``TRAINBOX_URL``, else this host.
        token: else ``TRAINBOX_TOKEN``, else the file the daemon wrote into its state directory.

    Raises:
        TrainboxError: not a URL, or no token anywhere.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.transport = Transport(locate(url, token), f"trainbox-client/{version('trainbox')}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.transport.daemon.url!r})"

    def _tasks(self) -> Steps[list[Document]]:
        """List task types, each with the JSON Schema of its parameters."""
        response = yield Request("GET", "/v1/tasks")
        return [Document(item) for item in response.json()["items"]]

    def _request(self, method: str, path: str, /, **params: Any) -> Steps[Any]:
        """Send any request and return the JSON it answers with; for what has no method here."""
        response = yield Request(method, path, params=params)
        return response.json() if response.content else None


class Client(BaseClient):
    """A daemon whose methods block; safe to use from several threads.

    ::

        from trainbox_client import Client

        with Client() as client:
            data = client.datasets.upload("customers.csv")
            job = client.jobs.submit("binclass", dataset=data, params={"target": "churned"})
            model = job.result()
            print(model.metrics, model.predict([{"plan": "basic", "age": 41}]))
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        super().__init__(url, token)
        self.datasets = Datasets(self.transport)
        self.jobs = Jobs(self.transport)
        self.models = Models(self.transport)
        self.assets = Assets(self.transport)

    def run_script(self, script: File, **options: Any) -> Job:
        """Upload a script with its files and queue it.

        Options are those of :func:`trainbox_client.scripts.run_script`.

        ::

            job = client.run_script("train.py", dataset=data, requirements="requirements.txt")
            job.result()
        """
        return self.transport.run(run_script(self.assets, self.jobs, script, **options))

    tasks = blocking(BaseClient._tasks)
    request = blocking(BaseClient._request)

    def close(self) -> None:
        """Let go of connections."""
        self.transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncClient(BaseClient):
    """A daemon whose methods are awaited, on one event loop."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        super().__init__(url, token)
        self.datasets = AsyncDatasets(self.transport)
        self.jobs = AsyncJobs(self.transport)
        self.models = AsyncModels(self.transport)
        self.assets = AsyncAssets(self.transport)

    async def run_script(self, script: File, **options: Any) -> AsyncJob:
        """Upload a script with its files and queue it; see :meth:`Client.run_script`."""
        return await self.transport.run_async(run_script(self.assets, self.jobs, script, **options))

    tasks = awaiting(BaseClient._tasks)
    request = awaiting(BaseClient._request)

    async def aclose(self) -> None:
        """Let go of connections."""
        await self.transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
