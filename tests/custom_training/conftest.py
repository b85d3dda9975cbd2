"""The dialect on a real server over the engine in memory."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from trainbox_plugins.custom_training.config import Config
from trainbox_plugins.custom_training.routes import CustomTrainingSurface
from trainbox_sdk.surfaces import REQUEST_ID
from trainbox_sdk.tasks import TaskInfo
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_engine import FakeEngine

from . import tokens

CSV = b"age,city,left\n" + b"".join(b"%d,Oslo,%s\n" % (n, (b"yes", b"no")[n % 2]) for n in range(9))


@pytest.fixture
def config(tmp_path):
    return Config(
        key_file=tokens.write_secret(tmp_path),
        algorithm="HS256",
        issuer=tokens.ISSUER,
        audience=tokens.AUDIENCE,
        max_asset_bytes=300_000,
    )


@pytest.fixture
def engine():
    made = FakeEngine()
    for name in ("custom_script", "regression"):
        made.further_tasks.append(TaskInfo(**{**vars(fake_data.TASK), "name": name}))
    yield made
    made.close()


class Client:
    """Sends requests as one organisation."""

    def __init__(self, session: aiohttp.ClientSession, **claims: Any) -> None:
        self.session = session
        self.headers = tokens.bearer(**claims)

    def with_claims(self, **claims: Any) -> Client:
        return Client(self.session, **claims)

    async def __call__(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        url = path if path.startswith("/") else f"/api/v1/models/{path}"
        headers = {**self.headers, **more.pop("headers", {})}
        async with self.session.request(method, url, headers=headers, **more) as reply:
            raw = await reply.read()
            assert reply.status == status, f"{method} {path}: {reply.status} {raw[:2000]!r}"
            return json.loads(raw) if raw and reply.content_type == "application/json" else raw

    async def model(self, name: str = "churn", **more: Any) -> str:
        body = {"name": name, "model_type": "custom", "task_type": "classification", **more}
        made = await self("POST", "/api/v1/models", 201, json=body)
        return made["model_id"]

    async def upload(
        self, model_id: str, data: bytes = b"print(1)\n", status: int = 201, **fields: str
    ) -> Any:
        form = aiohttp.FormData()
        for name, value in {"asset_type": "script", "filename": "train.py", **fields}.items():
            form.add_field(name, value)
        form.add_field("file", data, filename="x.py")
        return await self("POST", f"{model_id}/custom/assets", status, data=form)

    async def dataset(self, data: bytes = CSV, name: str = "people.csv") -> str:
        form = aiohttp.FormData()
        form.add_field("file", data, filename=name, content_type="text/csv")
        return (await self("POST", "/api/v1/datasets", 201, data=form))["dataset_id"]

    async def trainable(self, name: str = "churn") -> str:
        model_id = await self.model(name)
        await self.upload(model_id)
        body = {"dataset_id": await self.dataset()}
        await self("POST", f"{model_id}/dataset", json=body)
        return model_id

    async def train(self, model_id: str, status: int = 202, **more: Any) -> Any:
        body = {"entry_point": "train.py", "runtime": "python3.11", **more}
        return await self("POST", f"{model_id}/custom/train", status, json=body)


@pytest.fixture
async def client(engine, config):
    surface = CustomTrainingSurface(config)

    @web.middleware
    async def answer(request, handler):
        request[REQUEST_ID] = "request-1"
        try:
            return await handler(request)
        except Exception as error:
            if not isinstance(error, web.HTTPException) and not hasattr(error, "code"):
                raise  # a bug: show it to the test
            return surface.error_response(error, request)

    app = web.Application(middlewares=[answer])
    for route in surface.routes(engine):
        app.router.add_route(route.method, route.path, route.handler)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(server.make_url("/")) as session,
    ):
        yield Client(session)
