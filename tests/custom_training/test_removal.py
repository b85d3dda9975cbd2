"""Deleting a model while others are at it, and deletions that break off."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from trainbox_sdk.documents import DocumentKey
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import FieldError, Unavailable, ValidationFailed


@pytest.fixture
async def model_id(client, engine):
    """A model with a file, a version and the version promoted."""
    made = await client.trainable()
    run = await client.train(made)
    job = next(job for job in engine._jobs.values() if job.labels.get("run_id") == run["run_id"])
    await engine.run(job.id)
    shown = await client("GET", f"{made}/runs/{run['run_id']}")
    await client("POST", f"{made}/versions/{shown['version_created']}/promote")
    return made


def files(engine, model_id):
    return [each for each in engine._assets.values() if each.group == model_id]


def versions(engine, model_id):
    return [x for x in engine._models.values() if x.name == model_id and x.trashed_at is None]


def deletions(engine, model_id):
    return [x for x in engine._audit if (x.act, x.object) == ("model.deleted", model_id)]


def just_before_the_deletion(engine, happens) -> None:
    """Let something happen once, when a deletion has looked and is about to be written."""
    write, left = engine.write_documents, [happens]

    async def late(who, writes, *, acts=()):
        if left and any(act.act == "model.deleted" for act in acts):
            await left.pop()()
        return await write(who, writes, acts=acts)

    engine.write_documents = late


async def test_a_change_that_comes_between_does_not_break_a_deletion(client, engine, model_id):
    async def change():
        await client("PATCH", model_id, json={"description": "still in use"})

    just_before_the_deletion(engine, change)
    await client("DELETE", model_id, 204)
    await client("GET", model_id, 404)
    assert not files(engine, model_id)
    assert not versions(engine, model_id)
    assert len(deletions(engine, model_id)) == 1


async def test_a_run_that_comes_between_keeps_the_model_whole(client, engine, model_id):
    just_before_the_deletion(engine, lambda: client.train(model_id))
    refused = await client("DELETE", model_id, 409)
    assert refused["detail"] == f"A training run of model {model_id!r} is in progress."
    assert len(files(engine, model_id)) == 1
    assert len(versions(engine, model_id)) == 1
    assert not deletions(engine, model_id)
    assert (await client("GET", f"{model_id}/download"))["size_bytes"] > 0


async def test_changes_that_never_end_delete_nothing(client, engine, model_id):
    write = engine.write_documents

    async def always_late(who, writes, *, acts=()):
        if any(act.act == "model.deleted" for act in acts):
            await client("PATCH", model_id, json={"tags": ["again"]})
        return await write(who, writes, acts=acts)

    engine.write_documents = always_late
    refused = await client("DELETE", model_id, 409)
    assert refused["detail"] == f"Model {model_id!r} is being changed by others; try again."
    assert len(files(engine, model_id)) == 1
    assert len(versions(engine, model_id)) == 1


@pytest.mark.parametrize("broken", ["delete_asset", "trash_model"])
@pytest.mark.parametrize("later", ["list", "create", "delete"])
async def test_a_deletion_that_breaks_off_is_completed_later(
    client, engine, model_id, broken, later
):
    engine.raises[broken] = Unavailable("the daemon dies here")
    await client("DELETE", model_id, 503)
    engine.raises.clear()
    await client("GET", model_id, 404)
    assert files(engine, model_id) or versions(engine, model_id)
    if later == "list":
        assert (await client("GET", "/api/v1/models"))["models"] == []
    elif later == "create":
        await client.model("churn")
    else:
        await client("DELETE", model_id, 404)
    assert not files(engine, model_id)
    assert not versions(engine, model_id)
    (line,) = deletions(engine, model_id)
    gone = [x for x in engine._audit if x.act == "model.custom_asset_deleted"]
    assert {line.who, *(each.who for each in gone)} == {"ada@example.test"}
    assert await engine.document(DocumentKey("custom_training", "removal", model_id)) is None


async def test_of_many_deletions_at_once_one_is_told_so(client, engine, model_id):
    async def delete() -> int:
        url = f"/api/v1/models/{model_id}"
        async with client.session.delete(url, headers=client.headers) as reply:
            return reply.status

    statuses = await asyncio.gather(*(delete() for _ in range(8)))
    assert sorted(statuses) == [204] + [404] * 7
    assert len(deletions(engine, model_id)) == 1
    assert not files(engine, model_id)


async def test_a_version_that_an_alias_points_at_keeps_the_model(client, engine, model_id):
    (version,) = versions(engine, model_id)
    engine._keep(type(version)(**{**vars(version), "aliases": ("production",)}))
    refused = await client("DELETE", model_id, 409)
    assert "'production'" in refused["detail"]
    assert len(files(engine, model_id)) == 1


async def test_a_promoted_version_that_was_thrown_away_is_not_handed_out(client, engine, model_id):
    (version,) = versions(engine, model_id)
    native = Principal("user-1", "a native token", frozenset({"submit", "read"}))
    await engine.trash_model(native, version.id)
    refused = await client("GET", f"{model_id}/download", 422)
    assert "was thrown away" in refused["detail"][0]["msg"]


# --- what is put away is left as it is


async def test_nothing_of_an_archived_model_is_changed(client, engine, model_id):
    model = await client("GET", model_id)
    (asset,) = (await client("GET", f"{model_id}/custom/assets"))["assets"]
    await client("POST", f"{model_id}/archive")
    version = model["promoted_version_id"]
    for method, path, more in (
        ("PATCH", "", {"json": {"description": "x"}}),
        ("POST", f"/versions/{version}/promote", {}),
        ("DELETE", "/dataset", {}),
        ("DELETE", f"/custom/assets/{asset['asset_id']}", {}),
    ):
        refused = await client(method, model_id + path, 409, **more)
        assert "is archived" in refused["detail"], path
    await client("POST", f"{model_id}/unarchive")
    after = await client("GET", model_id)
    assert {**after, "updated_at": ""} == {**model, "updated_at": ""}
    assert len(files(engine, model_id)) == 1


# --- files and what races with them


async def test_a_file_replaced_while_a_run_is_submitted_is_taken_as_it_is_then(client, engine):
    model_id = await client.trainable()
    submit, left = engine.submit, [b"print(2)\n"]

    async def late(who, spec, **more):
        if left:
            await client.upload(model_id, left.pop())
        known = {each.id for each in files(engine, model_id)}
        for at, each in enumerate(spec.params["assets"]):
            if each["asset"] not in known:  # as the engine refuses it
                fault = FieldError(("params", "assets", at), f"no asset {each['asset']!r}")
                raise ValidationFailed("1 problem", errors=[fault])
        return await submit(who, spec, **more)

    engine.submit = late
    run = await client.train(model_id)
    shown = await client("GET", f"{model_id}/runs/{run['run_id']}")
    (now,) = files(engine, model_id)
    assert [each["digest"] for each in shown["assets"]] == [now.digest]


async def test_of_many_files_at_once_no_more_are_let_in_than_there_is_room_for(client):
    model_id = await client.model()
    for n in range(96):
        await client.upload(model_id, b"x", filename=f"f{n}", asset_type="other")

    async def upload(n: int) -> int:
        form = aiohttp.FormData()
        for name, value in {"asset_type": "other", "filename": f"g{n}"}.items():
            form.add_field(name, value)
        form.add_field("file", b"x", filename="x")
        url = f"/api/v1/models/{model_id}/custom/assets"
        async with client.session.post(url, data=form, headers=client.headers) as reply:
            return reply.status

    statuses = await asyncio.gather(*(upload(n) for n in range(20)))
    assert sorted(statuses) == [201] * 4 + [422] * 16
    listed = await client("GET", f"{model_id}/custom/assets")
    assert len(listed["assets"]) == 100
