"""What the daemon's submissions are measured beside; started by submissions.py, one process each.

    python benchmarks/peers.py KIND PORT FOLDER

``bare``: aiohttp, pydantic and a JSON answer, no database: the ceiling of this stack.
``surface``: our own surface over an engine in memory: the same handler without a database.
``sqlmodel``: the same request, written by one SQLModel session per request, the way most services do,
with a correct ``BEGIN IMMEDIATE`` and ``synchronous=FULL``.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from aiohttp import web
from pydantic import BaseModel, ConfigDict


class JobIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    task: str
    params: dict[str, Any] = {}
    name: str = ""
    priority: int = 0


def answer(job: JobIn) -> web.Response:
    body = {
        "id": f"job_{uuid4().hex}",
        "task": job.task,
        "state": "queued",
        "name": job.name,
        "params": job.params,
        "priority": job.priority,
        "created_at": datetime.now(UTC).isoformat(),
    }
    return web.json_response(body, status=202)


def bare() -> web.Application:
    async def submit(request: web.Request) -> web.Response:
        return answer(JobIn.model_validate_json(await request.read()))

    app = web.Application()
    app.router.add_post("/v1/jobs", submit)
    return app


class NullEngine:
    """Answers every submission with a job that is nowhere."""

    async def authenticate(self, token: str) -> Any:
        from trainbox_sdk.engine import Principal

        del token
        return Principal("bench", "bench", frozenset({"submit"}))

    def __getattr__(self, name: str) -> Any:
        """Stand for the calls that routes are built with and nobody makes here."""

        async def never(*_: Any, **__: Any) -> Any:
            raise NotImplementedError(name)

        return never

    async def submit(
        self, who: Any, spec: Any, *, idempotency_key: str | None = None, **_: Any
    ) -> Any:
        from trainbox_sdk.engine import Submission
        from trainbox_sdk.jobs import JobView, Resources, State, StepView

        del idempotency_key
        job = JobView(
            id=f"job_{uuid4().hex}",
            name=spec.name,
            task=spec.task,
            state=State.QUEUED,
            reason_code="",
            reason="",
            dataset_id=None,
            params=spec.params,
            resources=Resources(),
            priority=spec.priority,
            labels={},
            backend="none",
            owner=who.id,
            created_at=datetime.now(UTC),
            started_at=None,
            finished_at=None,
            progress=0.0,
            eta_s=None,
            metrics={},
            model_id=None,
            steps=(StepView(f"stp_{uuid4().hex}", "noop", State.QUEUED, "", "", (), ()),),
        )
        return Submission(job)


def surface() -> web.Application:
    from trainbox.http.application import build_app
    from trainbox.http.config import HttpConfig
    from trainbox_plugins.native.plugin import Plugin

    plugin = Plugin(Plugin.Config())
    return build_app(NullEngine(), plugin.register_surfaces(), HttpConfig())


def sqlmodel(folder: Path) -> web.Application:
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine
    from sqlmodel import Field, SQLModel
    from sqlmodel.ext.asyncio.session import AsyncSession

    class Job(SQLModel, table=True):
        id: str = Field(primary_key=True)
        task: str
        state: str
        name: str
        params: str
        priority: int
        created_at: datetime

    class Event(SQLModel, table=True):
        seq: int | None = Field(default=None, primary_key=True)
        job_id: str = Field(index=True)
        kind: str
        at: datetime

    engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'peer.db'}", pool_size=8)

    @event.listens_for(engine.sync_engine, "connect")
    def pragmas(connection: Any, _: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine.sync_engine, "begin")
    def begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    async def submit(request: web.Request) -> web.Response:
        job = JobIn.model_validate_json(await request.read())
        now = datetime.now(UTC)
        row = Job(
            id=f"job_{uuid4().hex}",
            task=job.task,
            state="queued",
            name=job.name,
            params=str(job.params),
            priority=job.priority,
            created_at=now,
        )
        async with AsyncSession(engine) as session:
            session.add(row)
            session.add(Event(job_id=row.id, kind="state", at=now))
            await session.commit()
        return answer(job)

    async def create(_: web.Application) -> None:
        async with engine.begin() as connection:
            await connection.run_sync(SQLModel.metadata.create_all)

    app = web.Application()
    app.on_startup.append(create)
    app.router.add_post("/v1/jobs", submit)
    return app


def main() -> None:
    kind, port, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    app = sqlmodel(folder) if kind == "sqlmodel" else {"bare": bare, "surface": surface}[kind]()
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None)


if __name__ == "__main__":
    main()
