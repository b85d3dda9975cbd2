"""How a run goes: curves, details, logs. Each under the two paths clients know it by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from aiohttp import hdrs, web

from trainbox_plugins.custom_training import answers, wire
from trainbox_plugins.custom_training.credentials import Caller
from trainbox_plugins.custom_training.curves import Curves, declared_epochs, stages, thinned
from trainbox_plugins.custom_training.library import Library
from trainbox_plugins.custom_training.names import run_status, stamp
from trainbox_plugins.custom_training.reading import json_reply, query
from trainbox_plugins.custom_training.records import RunRecord
from trainbox_plugins.custom_training.runs import Runs, version_of
from trainbox_plugins.custom_training.table import MODEL, Endpoint, gives, operation
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import NotFound
from trainbox_sdk.job_logs import LogFilter, LogLevel, LogLine
from trainbox_sdk.jobs import JobView
from trainbox_sdk.operations import Content, Operation, Reply
from trainbox_sdk.sound_json import json_bytes

MIB = 1024**2
PAGE = 5000
_WAYS = (
    ("training-metrics", "training-logs", ""),
    ("training/metrics", "training/logs", "Also"),
)
"""Paths below a model of metrics and of logs, and what tells the operations apart."""


class Progress:
    """Handlers of ``…/training-metrics`` and ``…/training-logs``."""

    def __init__(self, engine: Engine, library: Library, runs: Runs) -> None:
        self._engine = engine
        self._library = library
        self._runs = runs

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes."""
        return [each for way in _WAYS for each in self._way(*way)]

    def _way(self, metrics: str, logs: str, also: str) -> Sequence[Endpoint]:
        return [
            Endpoint("GET", f"{MODEL}/{metrics}", self.metrics,
                     operation(f"customMetrics{also}", "Curves of a run; the latest by default",
                               gives(answers.MetricsOut), "model:read", query=wire.MetricsQuery,
                               problems=(422,))),
            Endpoint("GET", f"{MODEL}/{metrics}/details", self.details,
                     operation(f"customMetricsDetails{also}", "How a run went",
                               gives(answers.DetailsOut), "model:read", query=wire.RunQuery,
                               problems=(422,))),
            Endpoint("GET", f"{MODEL}/{logs}", self.logs,
                     operation(f"customLogs{also}", "What a run printed",
                               gives(answers.LogsOut), "model:read", query=wire.LogsQuery,
                               problems=(422,))),
            Endpoint("GET", f"{MODEL}/{logs}/download", self.log_file,
                     _log_file_operation(also)),
        ]  # fmt: skip

    async def metrics(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/training-metrics``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        asked = query(request, wire.MetricsQuery)
        run, job = await self._runs.chosen(caller.who, model, asked.run_id)
        curves = Curves()
        async for event in self._engine.events(caller.who, job.id, follow=False):
            curves.take(event)
        wanted = curves.points
        if asked.metric is not None:
            if asked.metric not in wanted:
                raise NotFound(f"Run {run.id!r} has no metric {asked.metric[:80]!r}.")
            wanted = {asked.metric: wanted[asked.metric]}
        out: answers.MetricsOut = {
            "model_id": model.id,
            "run_id": run.id,
            "status": run_status(job),
            "metrics": {
                name: thinned(points, asked.resolution, curves.places[name])
                for name, points in wanted.items()
            },
            "epochs_completed": curves.epochs,
            "total_epochs": curves.total(declared_epochs(job.params)),
        }
        return json_reply(out)

    async def details(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/training-metrics/details``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        asked = query(request, wire.RunQuery)
        run, job = await self._runs.chosen(caller.who, model, asked.run_id)
        events = [each async for each in self._engine.events(caller.who, job.id, follow=False)]
        out: answers.DetailsOut = {
            "model_id": model.id,
            "run_id": run.id,
            "status": run_status(job),
            "started_at": stamp(job.started_at),
            "completed_at": stamp(job.finished_at),
            "duration_seconds": job.duration_s,
            "pipeline_stages": stages(events),
            "resource_usage": _usage(job),
            "dataset_id": run.body.dataset_id,
            "dataset_rows_used": run.body.dataset_rows,
            "final_algorithm": job.task if run.body.model_type == "auto" else None,
            "version_created": version_of(job),
        }
        return json_reply(out)

    async def logs(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/training-logs``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        asked = query(request, wire.LogsQuery)
        run, job = await self._runs.chosen(caller.who, model, asked.run_id)
        which = LogFilter(
            LogLevel(asked.level), limit=asked.limit, offset=asked.offset, tail=asked.tail
        )
        page = await self._engine.log_lines(caller.who, job.id, which)
        out: answers.LogsOut = {
            "model_id": model.id,
            "run_id": run.id,
            "total_lines": page.matching,
            "lines": [_line(each) for each in page.lines],
        }
        return json_reply(out)

    async def log_file(self, request: web.Request, caller: Caller) -> web.StreamResponse:
        """``GET …/training-logs/download``."""
        model = await self._library.model(caller, request.match_info["model_id"])
        asked = query(request, wire.LogFileQuery)
        run, job = await self._runs.chosen(caller.who, model, asked.run_id, ended_well=True)
        lines = self._all_lines(caller.who, job.id)
        first = await anext(lines, None)  # an error is still answered as one
        media = "application/json" if asked.format == "json" else "text/plain; charset=utf-8"
        response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: media})
        name = f"{run.id}.{'json' if asked.format == 'json' else 'log'}"
        response.headers[hdrs.CONTENT_DISPOSITION] = f'attachment; filename="{name}"'
        await response.prepare(request)
        parts = _as_json(run, first, lines) if asked.format == "json" else _as_text(first, lines)
        async for part in parts:
            await response.write(part)
        await response.write_eof()
        return response

    async def _all_lines(self, who: Principal, job_id: str) -> AsyncIterator[Sequence[LogLine]]:
        offset = 0
        while True:
            which = LogFilter(LogLevel.DEBUG, limit=PAGE, offset=offset)
            page = await self._engine.log_lines(who, job_id, which)
            if not page.lines:
                return
            yield page.lines
            offset += len(page.lines)


async def _as_text(
    first: Sequence[LogLine] | None, rest: AsyncIterator[Sequence[LogLine]]
) -> AsyncIterator[bytes]:
    if first is None:
        return
    yield _text(first)
    async for lines in rest:
        yield _text(lines)


async def _as_json(
    run: RunRecord, first: Sequence[LogLine] | None, rest: AsyncIterator[Sequence[LogLine]]
) -> AsyncIterator[bytes]:
    head = json_bytes({"model_id": run.model_id, "run_id": run.id})
    yield head[:-1] + b',"lines":['
    if first is not None:
        yield b",".join(json_bytes(_line(each)) for each in first)
        async for lines in rest:
            yield b"," + b",".join(json_bytes(_line(each)) for each in lines)
    yield b"]}"


def _text(lines: Sequence[LogLine]) -> bytes:
    rows = (f"{stamp(x.at) or '-'} {x.level.upper():7} {x.message}\n" for x in lines)
    return "".join(rows).encode("utf-8", "replace")


def _line(line: LogLine) -> answers.LogLineOut:
    return {
        "line": line.number,
        "level": str(line.level),
        "message": line.message,
        "timestamp": stamp(line.at),
    }


def _usage(job: JobView) -> answers.UsageOut:
    """Return the most of what any attempt used."""
    attempts = [attempt for step in job.steps for attempt in step.attempts]
    memory = _most(each.peak_memory_bytes for each in attempts)
    cpus = _most(each.peak_cpus for each in attempts)
    seconds = [each.cpu_s for each in attempts if each.cpu_s is not None]
    return {
        "peak_cpu_percent": None if cpus is None else round(cpus * 100, 1),
        "peak_memory_mb": None if memory is None else round(memory / MIB, 1),
        "cpu_seconds": round(sum(seconds), 3) if seconds else None,
        "worker_type": "gpu" if job.resources.gpus else "cpu",
    }


def _most(values: Any) -> float | None:
    return max((each for each in values if each is not None), default=None)


def _log_file_operation(also: str) -> Operation:
    content = (Content(None, "text/plain"), Content(answers.LogFileOut))
    headers = {"Content-Disposition": "A file name."}
    return operation(
        f"customDownloadLogs{also}",
        "All a run printed, as a file; the latest completed run by default",
        {200: Reply("The lines.", content, headers)},
        "model:read",
        query=wire.LogFileQuery,
        problems=(422,),
    )
