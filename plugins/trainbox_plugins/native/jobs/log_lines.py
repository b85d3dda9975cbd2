"""``GET /v1/jobs/{id}/log-lines``: what a job printed, as lines with a level."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from aiohttp import web
from pydantic import Field
from typing_extensions import TypedDict

from trainbox_plugins.native.replies import json_reply
from trainbox_plugins.native.requests import query
from trainbox_plugins.native.table import Endpoint, gives
from trainbox_plugins.native.wire import INT64, Query
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.job_logs import LogFilter, LogLevel, LogLine, LogPage
from trainbox_sdk.operations import Operation


class LogLinesQuery(Query):
    """Which lines: at least so grave, that ``text`` occurs in; for ``tail`` from the end."""

    level: LogLevel = LogLevel.DEBUG
    text: Annotated[str, Field(max_length=1000)] = ""
    limit: Annotated[int, Field(ge=1, le=5000)] = 500
    offset: Annotated[int, Field(ge=0, le=INT64)] = 0
    tail: bool = False


class LogLineOut(TypedDict):
    """One printed line."""

    number: int
    level: LogLevel
    message: str
    at: datetime | None
    stream: str | None
    attempt: int


class LogPageOut(TypedDict):
    """Lines, oldest first, and how many there are."""

    lines: Sequence[LogLineOut]
    matching: int
    total: int


class LogLines:
    """Handler for lines of logs."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the route."""
        return [
            Endpoint(
                "GET",
                "/v1/jobs/{id}/log-lines",
                self.lines,
                Operation(
                    "getJobLogLines",
                    "jobs",
                    "What the job printed, line by line",
                    gives(LogPageOut),
                    scope="read",
                    query=LogLinesQuery,
                    problems=(404, 422),
                ),
            ),
        ]

    async def lines(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/log-lines``."""
        which = log_filter(query(request, LogLinesQuery))
        page = await self._engine.log_lines(who, request.match_info["id"], which)
        return json_reply(log_page(page))


def log_filter(asked: LogLinesQuery) -> LogFilter:
    """Return the filter a query asks for."""
    return LogFilter(asked.level, asked.text, asked.limit, asked.offset, asked.tail)


def log_page(page: LogPage) -> LogPageOut:
    """Return lines as ``/v1`` says them."""
    return {
        "lines": [log_line(line) for line in page.lines],
        "matching": page.matching,
        "total": page.total,
    }


def log_line(line: LogLine) -> LogLineOut:
    """Return one line as ``/v1`` says it."""
    return {
        "number": line.number,
        "level": line.level,
        "message": line.message,
        "at": line.at,
        "stream": line.stream or None,
        "attempt": line.attempt,
    }
