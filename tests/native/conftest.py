import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace

import aiohttp
import pytest

from trainbox.http import HttpConfig, build_app, listening
from trainbox_plugins.native.config import Config
from trainbox_plugins.native.routes import NativeSurface
from trainbox_sdk.testing.fake_engine import OTHER_TOKEN, TOKEN, FakeEngine

CSV = "age,city,signed_up,target\n31,Köln,2024-01-05,yes\n,Łódź,,no\n52,,2023-11-30,yes\n"


@pytest.fixture
def engine():
    fake = FakeEngine()
    yield fake
    fake.close()


@pytest.fixture
async def api(engine):
    async with serve(engine) as served:
        yield served


@asynccontextmanager
async def serve(engine, config=None, http=None) -> AsyncIterator[SimpleNamespace]:
    http = http or HttpConfig(linger_s=0.2)
    app = build_app(engine, [NativeSurface(config or Config())], http)
    async with listening(app, "127.0.0.1", 0, http) as url:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(url, headers=headers) as session:
            yield SimpleNamespace(
                url=url, port=int(url.rsplit(":", 1)[1]), app=app, http=session, engine=engine
            )


@pytest.fixture
def serve_with():
    return serve


@pytest.fixture
def stranger():
    return {"Authorization": f"Bearer {OTHER_TOKEN}"}


@pytest.fixture
def csv_text():
    return CSV


@pytest.fixture
def dataset(api):
    async def make(**params):
        reply = await api.http.post(
            "/v1/datasets", params=params, data=CSV.encode(), headers={"Content-Type": "text/csv"}
        )
        assert reply.status in (200, 201), await reply.text()  # 200: the same bytes again
        return await reply.json()

    return make


@pytest.fixture
def job(api, dataset):
    count = itertools.count(1)

    async def make(**fields):
        # The same bytes under one name would be one dataset for all jobs.
        data = await dataset(name=f"of job {next(count)}")
        body = {"task": "binclass", "dataset_id": data["id"], "params": {"target": "target"}}
        reply = await api.http.post("/v1/jobs", json=body | fields)
        assert reply.status == 202, await reply.text()
        return await reply.json()

    return make


@pytest.fixture
def problem():
    async def check(reply, status, code):
        body = await reply.json(content_type="application/problem+json")
        assert (reply.status, body["status"], body["code"]) == (status, status, code), body
        assert set(body) == {
            "type",
            "title",
            "status",
            "detail",
            "code",
            "instance",
            "errors",
            "hint",
            "request_id",
        }
        assert body["request_id"] == reply.headers["X-Request-ID"]
        return body

    return check
