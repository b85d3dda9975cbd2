"""The daemon's own door before this dialect: rates by person, bad tokens by caller."""

from __future__ import annotations

import aiohttp
import pytest

from trainbox.http import HttpConfig, build_app, listening
from trainbox.origin import ORIGIN
from trainbox_plugins.custom_training.routes import CustomTrainingSurface

from . import tokens

PATH = "/api/v1/models"


@pytest.fixture
async def http(engine, config):
    rates = HttpConfig(rates={"reads": "3/hour", "auth_failures": "2/hour"}, linger_s=0.2)
    app = build_app(engine, [CustomTrainingSurface(config)], rates)
    async with (
        listening(app, "127.0.0.1", 0, rates) as url,
        aiohttp.ClientSession(url) as session,
    ):
        yield session


async def status(http, **headers) -> int:
    async with http.get(PATH, headers=headers) as reply:
        assert "detail" in await reply.json() or reply.status == 200
        return reply.status


async def test_a_person_with_many_tokens_is_one_caller(http):
    minted = [tokens.bearer(jti=str(number)) for number in range(4)]
    assert [await status(http, **each) for each in minted] == [200, 200, 200, 429]
    assert await status(http, **tokens.bearer(sub="bob@example.test")) == 200
    assert await status(http, **tokens.bearer(org_id="user-2")) == 200


async def test_bad_tokens_are_counted_and_good_ones_let_in_all_the_same(http):
    bad = {"Authorization": "Bearer a.b.c"}
    assert [await status(http, **bad) for _ in range(3)] == [401, 401, 429]
    assert await status(http, **tokens.bearer()) == 200


async def test_the_audit_log_learns_which_token_it_was(http, engine, monkeypatch):
    seen = []
    documents = engine.documents

    async def spying(which):
        seen.append(ORIGIN.get())
        return await documents(which)

    monkeypatch.setattr(engine, "documents", spying)
    await status(http, **tokens.bearer())
    assert seen[0].token_id.startswith("jwt:")
    assert (seen[0].peer, bool(seen[0].request_id)) == ("127.0.0.1", True)
