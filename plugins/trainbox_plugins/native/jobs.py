"""``/v1/jobs``, their logs, events and artifacts."""

from __future__ import annotations

from aiohttp import web

from trainbox_plugins.native import streams, translate, wire
from trainbox_plugins.native.config import Config
from trainbox_plugins.native.replies import file_reply, json_reply, page_reply
from trainbox_plugins.native.requests import idempotency_key, json_body, query, require_finite
from trainbox_sdk.engine import Engine, Principal


class Jobs:
    """Handlers for jobs."""

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._streamer = streams.Streamer(config)

    async def create(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/jobs``: 202 once the job is on disk, the same again for a known key."""
        key = idempotency_key(request)
        body = await json_body(request, wire.JobIn)
        require_finite(body.params, ("params",))
        submission = await self._engine.submit(who, translate.job_spec(body), idempotency_key=key)
        headers = {"Location": f"/v1/jobs/{submission.job.id}"}
        if submission.replayed:
            headers["Idempotency-Replayed"] = "true"
        return json_reply(translate.job(submission.job), status=202, headers=headers)

    async def list(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs``."""
        asked = query(request, wire.JobsQuery)
        page = await self._engine.jobs(who, translate.job_filter(asked))
        return page_reply(page, translate.job)

    async def show(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/jobs/{id}``."""
        query(request, wire.NoQuery)
        return json_reply(translate.job(await self._engine.job(who, request.match_info["id"])))

    async def cancel(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/jobs/{id}/cancel``: 202, the end arrives as an event."""
        query(request, wire.NoQuery)
        job = await self._engine.cancel(who, request.match_info["id"])
        return json_reply(translate.job(job), status=202)

    async def retry(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``POST /v1/jobs/{id}/retry``: 202, new attempts are queued."""
        query(request, wire.NoQuery)
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
        query(request, wire.NoQuery)
        views = await self._engine.artifacts(who, request.match_info["id"])
        return json_reply({"items": [translate.artifact(view) for view in views], "next": None})

    async def content(self, request: web.Request, who: Principal) -> web.StreamResponse:
        """``GET /v1/artifacts/{id}/content``."""
        query(request, wire.NoQuery)
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
