"""``/v1/jobs``, their logs, events and artifacts."""

from __future__ import annotations

from collections.abc import Sequence

from aiohttp import web

from trainbox_plugins.native.config import Config
from trainbox_plugins.native.jobs import streams, translate, wire
from trainbox_plugins.native.jobs.changes import Changes
from trainbox_plugins.native.jobs.log_lines import LogLines
from trainbox_plugins.native.jobs.reports import Reports
from trainbox_plugins.native.replies import file_reply, json_reply, page_reply
from trainbox_plugins.native.requests import idempotency_key, json_body, query, require_finite
from trainbox_plugins.native.table import FILE_REPLIES, IDEMPOTENCY_KEY, Endpoint, PageOut, gives
from trainbox_plugins.native.wire import NoQuery
from trainbox_sdk.calls.jobs import IfIdentical
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.operations import Content, Operation, Reply

EVENTS = {
    200: Reply(
        "Events with a sequence number over ``after``, in the form the Accept header asks for.",
        (
            Content(list[wire.EventOut]),
            Content(None, "text/event-stream"),
            Content(None, "application/x-ndjson"),
        ),
    )
}


SUBMITTED = {
    202: Reply(
        "Queued.",
        (Content(wire.SubmittedOut),),
        {"Location": "The job.", "Idempotency-Replayed": "true where the key had made it before."},
    ),
    200: Reply(
        "An identical job of before, as ``if_identical`` asked.",
        (Content(wire.SubmittedOut),),
        {"Location": "The job.", "Job-Reused": "true."},
    ),
}


class Jobs:
    """Handlers for jobs."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._streamer = streams.Streamer(config)

    def endpoints(self) -> Sequence[Endpoint]:
        """Return the routes of jobs."""
        return [
            *Reports(self._engine).endpoints(),
            *Changes(self._engine).endpoints(),
            *LogLines(self._engine).endpoints(),
            Endpoint(
                "POST",
                "/v1/jobs",
                self.create,
                Operation(
                    "createJob",
                    "jobs",
                    "Submit a job",
                    SUBMITTED,
                    scope="submit",
                    problems=(404, 409, 422, 507),
                    body=(Content(wire.JobIn),),
                    headers=(IDEMPOTENCY_KEY,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/jobs",
                self.list,
                Operation(
                    "listJobs",
                    "jobs",
                    "List jobs",
                    gives(PageOut[wire.JobOut]),
                    scope="read",
                    query=wire.JobsQuery,
                    problems=(422,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/jobs/{id}",
                self.show,
                Operation(
                    "getJob",
                    "jobs",
                    "Show a job",
                    gives(wire.JobOut),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "POST",
                "/v1/jobs/{id}/cancel",
                self.cancel,
                Operation(
                    "cancelJob",
                    "jobs",
                    "Ask for the end of a job",
                    gives(wire.JobOut, status=202),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
            Endpoint(
                "POST",
                "/v1/jobs/{id}/retry",
                self.retry,
                Operation(
                    "retryJob",
                    "jobs",
                    "Run what did not succeed again",
                    gives(wire.JobOut, status=202),
                    scope="submit",
                    query=NoQuery,
                    problems=(404, 409),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/jobs/{id}/logs",
                self.logs,
                Operation(
                    "getJobLogs",
                    "jobs",
                    "What the job printed",
                    {200: Reply("The log.", (Content(None, "text/plain"),))},
                    scope="read",
                    query=wire.LogsQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/jobs/{id}/events",
                self.events,
                Operation(
                    "getJobEvents",
                    "jobs",
                    "What happened to the job",
                    EVENTS,
                    scope="read",
                    query=wire.EventsQuery,
                    problems=(404, 406),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/jobs/{id}/artifacts",
                self.artifacts,
                Operation(
                    "listJobArtifacts",
                    "jobs",
                    "What the job left behind",
                    gives(PageOut[wire.ArtifactOut]),
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/events",
                self.all_events,
                Operation(
                    "getEvents",
                    "jobs",
                    "What happened to every job",
                    EVENTS,
                    scope="admin",
                    query=wire.EventsQuery,
                    problems=(406,),
                ),
            ),
            Endpoint(
                "GET",
                "/v1/artifacts/{id}/content",
                self.content,
                Operation(
                    "getArtifact",
                    "jobs",
                    "Download an artifact",
                    FILE_REPLIES,
                    scope="read",
                    query=NoQuery,
                    problems=(404, 416),
                ),
            ),
            Endpoint(
                "HEAD",
                "/v1/artifacts/{id}/content",
                self.content,
                Operation(
                    "headArtifact",
                    "jobs",
                    "Size and digest of an artifact",
                    {200: Reply("No body.")},
                    scope="read",
                    query=NoQuery,
                    problems=(404,),
                ),
            ),
        ]

    async def create(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/jobs``: 202 once it is on disk, 200 for an identical job asked for instead."""
        key = idempotency_key(request)
        body = await json_body(request, wire.JobIn)
        require_finite(body.params, ("params",))
        submission = await self._engine.submit(
            who,
            translate.job_spec(body),
            idempotency_key=key,
            if_identical=IfIdentical(body.if_identical),
        )
        headers = {"Location": f"/v1/jobs/{submission.job.id}"}
        if submission.replayed:
            headers["Idempotency-Replayed"] = "true"
        if submission.reused:
            headers["Job-Reused"] = "true"
        status = 200 if submission.reused else 202
        return json_reply(translate.submitted(submission), status=status, headers=headers)

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs``."""
        asked = query(request, wire.JobsQuery)
        page = await self._engine.jobs(who, translate.job_filter(asked))
        return page_reply(page, translate.job)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs/{id}``."""
        query(request, NoQuery)
        return json_reply(translate.job(await self._engine.job(who, request.match_info["id"])))

    async def cancel(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/jobs/{id}/cancel``: 202, the end arrives as an event."""
        query(request, NoQuery)
        job = await self._engine.cancel(who, request.match_info["id"])
        return json_reply(translate.job(job), status=202)

    async def retry(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/jobs/{id}/retry``: 202, new attempts are queued."""
        query(request, NoQuery)
        job = await self._engine.retry(who, request.match_info["id"])
        return json_reply(translate.job(job), status=202)

    async def logs(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/logs``: bytes from ``?offset=`` on, growing with ``?follow=true``."""
        asked = query(request, wire.LogsQuery)
        job = await self._engine.job(who, request.match_info["id"])
        chunks = self._engine.logs(who, job.id, offset=asked.offset, follow=asked.follow)
        return await self._streamer.send(request, chunks, bytes, "text/plain; charset=utf-8")

    async def events(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/events``."""
        asked = query(request, wire.EventsQuery)
        job = await self._engine.job(who, request.match_info["id"])
        return await self._send_events(request, who, job.id, asked)

    async def all_events(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/events``: of every job."""
        return await self._send_events(request, who, None, query(request, wire.EventsQuery))

    async def artifacts(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs/{id}/artifacts``."""
        query(request, NoQuery)
        views = await self._engine.artifacts(who, request.match_info["id"])
        return json_reply({"items": [translate.artifact(view) for view in views], "next": None})

    async def content(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/artifacts/{id}/content``."""
        query(request, NoQuery)
        file = await self._engine.artifact_file(who, request.match_info["id"])
        return file_reply(request, file, file.view.name)

    async def _send_events(
        self, request: web.Request, who: Principal, job_id: str | None, asked: wire.EventsQuery
    ) -> web.StreamResponse:
        media_type = streams.event_format(request, asked)
        after = streams.event_position(request, asked)
        follow = asked.follow if asked.follow is not None else media_type == streams.SSE
        if media_type == streams.JSON:
            follow = False
        events = self._engine.events(who, job_id, after=after, follow=follow)
        if media_type == streams.JSON:
            body = await streams.events_as_array(events)
            return web.Response(body=body, content_type=streams.JSON)
        write_as = streams.as_sse if media_type == streams.SSE else streams.as_line
        return await self._streamer.send(request, events, write_as, media_type)
