"""Jobs: submit, follow, end; a handle both blocks (``job.result()``) and awaits (``await job``)."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Generator, Mapping, Sequence
from typing import Any, ClassVar, Generic, Self, TypeVar

from trainbox_client.documents import Document, Page, quoted
from trainbox_client.errors import ENDINGS, JobEnded, TrainboxError
from trainbox_client.events import FINAL, JobEvents, Position
from trainbox_client.models import AsyncModel, Model
from trainbox_client.progress import Wanted, showing
from trainbox_client.transport import (
    Request,
    Steps,
    Transport,
    awaiting,
    blocking,
)

LOG_TAIL_LINES = 20
LOG_TAIL_BYTES = 64 * 1024

M = TypeVar("M", Model, AsyncModel)
J = TypeVar("J", "Job", "AsyncJob")


class BaseJob(Document, Generic[M]):
    """A job as it stood when it was last asked for; ``refresh()`` asks again."""

    shown: ClassVar[tuple[str, ...]] = (
        "id",
        "name",
        "task",
        "state",
        "reason",
        "progress",
        "eta_s",
        "metrics",
        "model_id",
    )
    _model_type: type[M]

    def __init__(self, transport: Transport, data: Mapping[str, Any]) -> None:
        super().__init__(data)
        self.transport = transport

    @property
    def ended(self) -> bool:
        """Whether the job will not move any more."""
        return self._data["state"] in FINAL

    def wait(self, timeout: float | None = None, *, progress: Wanted = "auto") -> BaseJob[M]:
        """Block until the job ends, however it ends; returns this job, brought up to date.

        Args:
            timeout: seconds, or None for as long as it takes.
            progress: a bar on a terminal or in a notebook; ``"auto"`` finds out, False is silent.

        Raises:
            WaitTimeout: it goes on.
            Unreachable: the daemon stayed away for two minutes.
        """
        with showing(progress, self.id) as show:
            for event in self.events(deadline=_deadline(timeout)):
                show(event)
        self._data = self.transport.run(self._fetch())
        return self

    async def wait_async(
        self,
        timeout: float | None = None,  # noqa: ASYNC109 - the same word as the blocking one
    ) -> BaseJob[M]:
        """Await the job's end; see :meth:`wait`."""
        async for _ in self.events(deadline=_deadline(timeout)):
            pass
        self._data = await self.transport.run_async(self._fetch())
        return self

    def result(self, timeout: float | None = None, *, progress: Wanted = "auto") -> M | None:
        """Block until the job ends and return its model; None for a task that makes none.

        Raises:
            JobFailed, JobCancelled, JobInterrupted: it ended without; says why, with its log's end.
            WaitTimeout: it goes on.
        """
        self.wait(timeout, progress=progress)
        return self.transport.run(self._outcome())

    def __await__(self) -> Generator[Any, None, M | None]:
        """Await the job's end and return its model; see :meth:`result`."""
        return self._result_async().__await__()

    def events(self, *, after: int = 0, deadline: float | None = None) -> JobEvents:
        """Iterate what happens to the job, to its end; ``for`` and ``async for`` both work.

        Args:
            after: sequence number of the last event already known.
            deadline: monotonic time after which WaitTimeout is raised.
        """
        return JobEvents(self.transport, self.id, Position(after, deadline))

    async def _result_async(self) -> M | None:
        await self.wait_async()
        return await self.transport.run_async(self._outcome())

    def _path(self, rest: str = "") -> str:
        return f"/v1/jobs/{quoted(self.id)}{rest}"

    def _fetch(self) -> Steps[dict[str, Any]]:
        response = yield Request("GET", self._path())
        document: dict[str, Any] = response.json()
        return document

    def _outcome(self) -> Steps[M | None]:
        if self._data["state"] != "succeeded":
            raise (yield from self._ending())
        if self._data["model_id"] is None:
            return None
        response = yield Request("GET", f"/v1/models/{quoted(self._data['model_id'])}")
        return self._model_type(self.transport, response.json())

    def _ending(self) -> Steps[JobEnded]:
        response = yield Request("GET", self._path("/logs"), headers={"Accept": "*/*"})
        tail = response.content[-LOG_TAIL_BYTES:].decode(errors="replace").splitlines()
        printable = "\n".join(
            "".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in line)
            for line in tail[-LOG_TAIL_LINES:]
        )
        return ENDINGS[self._data["state"]](self._data, printable)

    def _refreshed(self, request: Request) -> Steps[Self]:
        response = yield request
        self._data = response.json()
        return self

    def _refresh(self) -> Steps[Self]:
        """Ask how the job stands now."""
        return (yield from self._refreshed(Request("GET", self._path())))

    def _cancel(self) -> Steps[Self]:
        """Ask for the job's end; the end itself comes later, see ``wait()``."""
        return (yield from self._refreshed(Request("POST", self._path("/cancel"))))

    def _retry(self) -> Steps[Self]:
        """Run what failed, was cancelled or interrupted again."""
        return (yield from self._refreshed(Request("POST", self._path("/retry"))))

    def _logs(self) -> Steps[str]:
        """Return what the job has printed so far; bytes that are no UTF-8 are replaced."""
        response = yield Request("GET", self._path("/logs"), headers={"Accept": "*/*"})
        return str(response.content.decode(errors="replace"))

    def _log_lines(
        self,
        *,
        level: str | None = None,
        text: str | None = None,
        limit: int = 500,
        offset: int = 0,
        tail: bool = False,
    ) -> Steps[list[Document]]:
        """Return lines with ``number``, ``level``, ``message``, ``at``, ``stream`` and ``attempt``.

        Args:
            level: at least so grave: ``debug``, ``info``, ``warning`` or ``error``.
            text: that occurs in them; the case of letters does not matter.
            limit: how many at most, up to 5000.
            offset: how many of those that match to leave out.
            tail: the last ones rather than the first; offset counts from the end then.
        """
        wanted = {"level": level, "text": text, "limit": limit, "offset": offset or None}
        params = {key: value for key, value in wanted.items() if value is not None}
        if tail:
            params["tail"] = "true"
        response = yield Request("GET", self._path("/log-lines"), params=params)
        return [Document(line) for line in response.json()["lines"]]

    def _artifacts(self) -> Steps[list[Document]]:
        """List the files the job left behind."""
        response = yield Request("GET", self._path("/artifacts"))
        return [Document(item) for item in response.json()["items"]]

    def _metric_history(self) -> Steps[list[dict[str, Any]]]:
        """Return every metric the job has reported: ``name``, ``value``, ``step`` and ``at``."""
        response = yield Request(
            "GET", self._path("/events"), headers={"Accept": "application/x-ndjson"}
        )
        events = [json.loads(line) for line in response.text.splitlines() if line]
        return [
            {"at": event["at"], **event["data"]} for event in events if event["kind"] == "metric"
        ]


class Job(BaseJob[Model]):
    """A job whose methods block."""

    _model_type = Model
    refresh = blocking(BaseJob[Model]._refresh)
    cancel = blocking(BaseJob[Model]._cancel)
    retry = blocking(BaseJob[Model]._retry)
    logs = blocking(BaseJob[Model]._logs)
    log_lines = blocking(BaseJob[Model]._log_lines)
    artifacts = blocking(BaseJob[Model]._artifacts)
    metric_history = blocking(BaseJob[Model]._metric_history)


class AsyncJob(BaseJob[AsyncModel]):
    """A job whose methods are awaited."""

    _model_type = AsyncModel
    refresh = awaiting(BaseJob[AsyncModel]._refresh)
    cancel = awaiting(BaseJob[AsyncModel]._cancel)
    retry = awaiting(BaseJob[AsyncModel]._retry)
    logs = awaiting(BaseJob[AsyncModel]._logs)
    log_lines = awaiting(BaseJob[AsyncModel]._log_lines)
    artifacts = awaiting(BaseJob[AsyncModel]._artifacts)
    metric_history = awaiting(BaseJob[AsyncModel]._metric_history)


class JobArea(Generic[J]):
    """``client.jobs``."""

    _job_type: type[J]

    def __init__(self, transport: Transport) -> None:
        self.transport = transport

    def _submit(
        self,
        task: str,
        *,
        dataset: str | Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        resources: Mapping[str, Any] | None = None,
        name: str = "",
        labels: Mapping[str, str] | None = None,
        priority: int = 0,
        backend: str | None = None,
        if_identical: str | None = None,
        idempotency_key: str | None = None,
    ) -> Steps[J]:
        """Queue a job; an answer that is lost on the way never makes a second one.

        Args:
            task: task type, such as ``binclass``.
            dataset: id, name, ``name:version`` or a dataset's handle.
            params: the task's parameters, such as ``{"target": "churn"}``.
            resources: any of ``cpus``, ``memory_bytes``, ``gpus``, ``timeout_s``.
            name: for people; the model gets it, too.
            labels: for filters.
            priority: -100 to 100, higher first.
            backend: where to run; the daemon chooses by default.
            if_identical: ``"reuse"`` takes the result of an identical job instead of running it.
            idempotency_key: the same key never makes a second job; one is made up by default.

        Raises:
            Rejected: the job would fail; ``errors`` says where and how to fix it.
        """
        wanted: dict[str, Any] = {
            "task": task,
            "dataset_id": dataset["id"] if isinstance(dataset, Mapping) else dataset,
            "params": dict(params or {}),
            "resources": dict(resources) if resources else None,
            "name": name or None,
            "labels": dict(labels) if labels else None,
            "priority": priority or None,
            "backend": backend,
            "if_identical": if_identical,
        }
        body = {key: value for key, value in wanted.items() if value is not None}
        key = idempotency_key or f"client-{secrets.token_hex(16)}"
        response = yield Request("POST", "/v1/jobs", json=body, headers={"Idempotency-Key": key})
        return self._job_type(self.transport, response.json())

    def _get(self, job_id: str) -> Steps[J]:
        """Return one job.

        Raises:
            NotFound: no such job, or not yours.
        """
        response = yield Request("GET", f"/v1/jobs/{quoted(job_id)}")
        return self._job_type(self.transport, response.json())

    def _list(self, /, *, limit: int = 50, after: str | None = None, **filters: Any) -> Steps[Page]:
        """Return one page of jobs, newest first; ``filters`` are those of ``GET /v1/jobs``."""
        params = {"limit": limit, "after": after, **filters}
        response = yield Request("GET", "/v1/jobs", params=params)
        document = response.json()
        page = Page(self._job_type(self.transport, item) for item in document["items"])
        page.next = document["next"]
        return page

    def _compare(self, jobs: Sequence[str | Mapping[str, Any]]) -> Steps[Document]:
        """Return what differs between jobs, and their metrics side by side."""
        ids = [job["id"] if isinstance(job, Mapping) else job for job in jobs]
        response = yield Request("GET", "/v1/jobs/compare", params={"ids": ",".join(ids)})
        return Document(response.json())

    def _reproduce(self, job_id: str) -> Steps[Document]:
        """Return how to run the same again: ``curl``, ``cli`` and ``python``."""
        response = yield Request("GET", f"/v1/jobs/{quoted(job_id)}/reproduce")
        return Document(response.json())

    def _delete(self, job_id: str) -> Steps[None]:
        """Delete an ended job's files; what became of it stays on record."""
        yield Request("DELETE", f"/v1/jobs/{quoted(job_id)}")


class Jobs(JobArea[Job]):
    """Jobs, blocking."""

    _job_type = Job
    submit = blocking(JobArea[Job]._submit)
    get = blocking(JobArea[Job]._get)
    list = blocking(JobArea[Job]._list)
    compare = blocking(JobArea[Job]._compare)
    reproduce = blocking(JobArea[Job]._reproduce)
    delete = blocking(JobArea[Job]._delete)


class AsyncJobs(JobArea[AsyncJob]):
    """Jobs, awaited."""

    _job_type = AsyncJob
    submit = awaiting(JobArea[AsyncJob]._submit)
    get = awaiting(JobArea[AsyncJob]._get)
    list = awaiting(JobArea[AsyncJob]._list)
    compare = awaiting(JobArea[AsyncJob]._compare)
    reproduce = awaiting(JobArea[AsyncJob]._reproduce)
    delete = awaiting(JobArea[AsyncJob]._delete)


def _deadline(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if not timeout >= 0:
        raise TrainboxError(f"timeout is {timeout!r}; give seconds, or None")
    return time.monotonic() + timeout
