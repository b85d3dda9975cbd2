"""Models, their data and their files, over the engine in memory."""

from __future__ import annotations

import asyncio
import re

import pytest

ORG_2 = {"org_id": "user-2", "sub": "eve@example.test"}


async def test_a_new_model_is_a_draft(client):
    body = {
        "name": "churn", "model_type": "custom", "task_type": "classification",
        "description": "who leaves", "tags": ["a", "b", "a"],
        "config": {"target_column": "left", "feature_columns": ["age"], "algorithm": "trees"},
    }  # fmt: skip
    made = await client("POST", "/api/v1/models", 201, json=body)
    assert re.fullmatch(r"mdl-[0-9a-f]{16}", made["model_id"])
    assert (made["status"], made["version"], made["tags"]) == ("draft", 1, ["a", "b"])
    assert made["created_by"] == "ada@example.test"
    assert made["created_at"].endswith("Z")
    assert await client("GET", made["model_id"]) == made
    listed = await client("GET", "/api/v1/models")
    assert (listed["models"], listed["next"]) == ([made], None)


async def test_a_name_is_unique_in_its_organisation(client):
    await client.model("churn")
    body = {"name": "churn", "model_type": "custom", "task_type": "regression"}
    refused = await client("POST", "/api/v1/models", 409, json=body)
    assert "has a model named 'churn' already" in refused["detail"]
    await client.with_claims(**ORG_2).model("churn")
    other = await client.model("other")
    await client("PATCH", other, 409, json={"name": "churn"})


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({"name": ""}, ["body", "name"]),
        ({"name": "  "}, ["body", "name"]),
        ({"name": "a\nb"}, ["body", "name"]),
        ({"name": "\0"}, ["body", "name"]),
        ({"name": "a\0"}, ["body", "name"]),
        ({"name": "\x1bb"}, ["body", "name"]),
        ({"name": "a \x7f"}, ["body", "name"]),
        ({"name": "a\x9b"}, ["body", "name"]),
        ({"name": "\u2028a"}, ["body", "name"]),
        ({"tags": ["a\x85"]}, ["body", "tags", 0]),
        ({"model_type": "other"}, ["body", "model_type"]),
        ({"task_type": "forecasting"}, ["body", "task_type"]),
        ({"tags": "a"}, ["body", "tags"]),
        ({"config": {"target": "x"}}, ["body", "config", "target"]),
        ({"nmae": "x"}, ["body", "nmae"]),
    ],
    ids=lambda value: str(value[-1]) if isinstance(value, list) else "",
)
async def test_a_body_that_is_wrong_says_where(client, body, loc):
    whole = {"name": "x", "model_type": "custom", "task_type": "regression", **body}
    refused = await client("POST", "/api/v1/models", 422, json=whole)
    assert [one["loc"] for one in refused["detail"]] == [loc]
    assert set(refused["detail"][0]) == {"loc", "msg", "type"}


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'{"name": NaN}', b"\xff", b'{"config": {"parameters": {"a": 1e999}}}'],
)
async def test_what_is_no_json_is_422(client, raw):
    headers = {"Content-Type": "application/json"}
    refused = await client("POST", "/api/v1/models", 422, data=raw, headers=headers)
    assert refused["detail"][0]["loc"][0] == "body"


async def test_what_changes_and_what_stays(client):
    model_id = await client.model(description="before", tags=["t"])
    changed = await client("PATCH", model_id, json={"description": "after"})
    assert (changed["description"], changed["tags"], changed["name"]) == ("after", ["t"], "churn")
    assert (await client("PATCH", model_id, json={"name": "new"}))["name"] == "new"


async def test_archived_is_put_away_until_it_is_brought_back(client):
    model_id = await client.trainable()
    assert (await client("POST", f"{model_id}/archive"))["status"] == "archived"
    await client("POST", f"{model_id}/archive", 409)
    await client.train(model_id, 409)
    await client.upload(model_id, status=409)
    assert (await client("POST", f"{model_id}/unarchive"))["status"] == "draft"
    await client("POST", f"{model_id}/unarchive", 409)


async def test_deleting_takes_files_and_versions_along(client, engine):
    model_id = await client.trainable()
    run = await client.train(model_id)
    await client("DELETE", model_id, 409)
    await client("POST", f"{model_id}/archive", 409)
    await engine.finish((await job_of(engine, run)).id)
    await client("DELETE", model_id, 204)
    await client("GET", model_id, 404)
    assert not [each for each in engine._assets.values() if each.group == model_id]
    assert all(each.trashed_at for each in engine._models.values() if each.name == model_id)
    await client.model("churn")


async def job_of(engine, run):
    return next(job for job in engine._jobs.values() if job.labels.get("run_id") == run["run_id"])


# --- whose it is


async def test_what_is_another_organisations_is_403_and_what_is_nobodys_404(client):
    model_id, eve = await client.trainable(), client.with_claims(**ORG_2)
    await client.train(model_id)
    paths = [
        ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("GET", "/custom/assets"),
        ("POST", "/custom/assets"), ("DELETE", "/custom/assets/ast-1"), ("POST", "/dataset"),
        ("POST", "/custom/train"), ("POST", "/train"), ("GET", "/runs"), ("GET", "/runs/x"),
        ("POST", "/runs/x/cancel"), ("GET", "/training-metrics"), ("GET", "/training-logs"),
        ("GET", "/training-logs/download"), ("GET", "/training-metrics/details"),
        ("GET", "/versions"), ("GET", "/versions/ver-1"), ("POST", "/versions/ver-1/promote"),
        ("GET", "/download"), ("POST", "/test"), ("GET", "/audit-logs"), ("GET", "/activity"),
    ]  # fmt: skip
    for method, path in paths:
        said = await eve(method, model_id + path, 403)
        assert "another organisation" in said["detail"]
        assert "no model" in (await eve(method, "mdl-none" + path, 404))["detail"]
    assert (await eve("GET", "/api/v1/models"))["models"] == []


async def test_the_token_must_allow_it(client):
    reader = client.with_claims(permissions=["model:read"])
    model_id = await client.model()
    await reader("GET", model_id)
    for method, path, lacking in (
        ("POST", "/api/v1/models", "model:create"),
        ("PATCH", model_id, "model:update"),
        ("DELETE", model_id, "model:delete"),
        ("POST", f"{model_id}/custom/train", "model:train"),
        ("POST", f"{model_id}/versions/ver-1/promote", "model:promote"),
        ("POST", f"{model_id}/test", "model:test"),
        ("GET", f"{model_id}/audit-logs", "model:audit"),
        ("POST", "/api/v1/datasets", "dataset:create"),
        ("GET", "/api/v1/datasets", "dataset:read"),
    ):
        assert f"'{lacking}'" in (await reader(method, path, 403))["detail"]


# --- data


async def test_a_dataset_that_lacks_a_column_is_not_linked(client):
    config = {"target_column": "left", "feature_columns": ["age", "income"]}
    model_id = await client.model(config=config)
    dataset = await client.dataset()
    body = {"dataset_id": dataset}
    refused = await client("POST", f"{model_id}/dataset", 422, json=body)
    assert "no column 'income'" in refused["detail"][0]["msg"]
    linked = await client("POST", f"{model_id}/dataset", json={**body, "validate_schema": False})
    assert (linked["dataset_id"], linked["schema_validated"]) == (dataset, False)
    whole = {"name": "x", "model_type": "auto", "task_type": "classification", "config": config}
    await client("POST", "/api/v1/models", 422, json={**whole, **body})
    await client("DELETE", f"{model_id}/dataset", 204)
    await client("DELETE", f"{model_id}/dataset", 404)


async def test_a_dataset_of_another_organisation_is_403_and_none_404(client):
    eve = client.with_claims(**ORG_2)
    model_id, theirs = await client.model(), await eve.dataset()
    await client("POST", f"{model_id}/dataset", 404, json={"dataset_id": "ds_none"})
    await client("GET", "/api/v1/datasets/ds_none", 404)
    listed = await client("GET", "/api/v1/datasets")
    assert listed == {"datasets": [], "next": None}
    assert (await eve("GET", f"/api/v1/datasets/{theirs}"))["rows"] == 9


# --- files


async def test_files_come_fields_first_or_last(client):
    model_id = await client.model()
    for order in (("asset_type", "filename", "description", "file"),
                  ("file", "asset_type", "filename"),
                  ("asset_type", "file", "filename", "description")):  # fmt: skip
        fields = {"asset_type": "config", "filename": f"{order[0]}.json", "description": "d"}
        form = multipart([(name, fields.get(name)) for name in order], b"{}")
        made = await client("POST", f"{model_id}/custom/assets", 201, **form)
        assert made["asset_id"].startswith("ast-")
        assert (made["asset_type"], made["size_bytes"]) == ("config", 2)
    listed = await client("GET", f"{model_id}/custom/assets")
    assert sorted(each["filename"] for each in listed["assets"]) == ["asset_type.json", "file.json"]


def multipart(parts, data: bytes):
    lines = []
    for name, value in parts:
        more = '; filename="f"' if name == "file" else ""
        lines += [f'--B\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode(),
                  data if name == "file" else value.encode(), b"\r\n"]  # fmt: skip
    return {
        "data": b"".join(lines) + b"--B--\r\n",
        "headers": {"Content-Type": "multipart/form-data; boundary=B"},
    }


async def test_the_same_name_takes_the_olders_place_but_not_of_another_type(client):
    model_id = await client.model()
    first = await client.upload(model_id, b"one")
    second = await client.upload(model_id, b"two!")
    listed = await client("GET", f"{model_id}/custom/assets")
    assert listed["assets"] == [second]
    assert first["asset_id"] != second["asset_id"]
    refused = await client.upload(model_id, asset_type="weights", status=409)
    assert "asset_type 'script'" in refused["detail"]
    await client("DELETE", f"{model_id}/custom/assets/{second['asset_id']}", 204)
    await client("DELETE", f"{model_id}/custom/assets/{second['asset_id']}", 404)


@pytest.mark.parametrize(
    "filename",
    ["../x.py", "a/b.py", "", ".hidden", "..", "a\nb", "a\0b", "x" * 256, "\u00e9" * 200],
    ids=lambda name: f"{name[:8]!r}-{len(name)}",
)
async def test_names_that_cannot_lie_beside_a_script_are_refused(client, filename):
    form = multipart([("asset_type", "script"), ("filename", filename), ("file", None)], b"x")
    model_id = await client.model()
    refused = await client("POST", f"{model_id}/custom/assets", 422, **form)
    assert refused["detail"][0]["loc"] == ["body", "filename"]


async def test_what_a_form_lacks_is_said_all_at_once(client):
    model_id = await client.model()
    form = multipart([("file", None)], b"x")
    refused = await client("POST", f"{model_id}/custom/assets", 422, **form)
    assert [one["loc"][1] for one in refused["detail"]] == ["asset_type", "filename"]
    form = multipart([("asset_type", "script"), ("filename", "a")], b"")
    refused = await client("POST", f"{model_id}/custom/assets", 422, **form)
    assert refused["detail"][0]["loc"] == ["body", "file"]
    await client.upload(model_id, asset_type="binary", status=422)
    await client.upload(model_id, b"", status=422)
    await client("POST", f"{model_id}/custom/assets", 422, json={})


async def test_too_large_is_413_by_its_header_and_while_it_comes(client, engine):
    model_id = await client.model()
    await client.upload(model_id, b"x" * 300_000)
    await client.upload(model_id, b"x" * 300_001, status=413)
    form = multipart([("file", None), ("asset_type", "other")], b"x" * 400_000)
    await client("POST", f"{model_id}/custom/assets", 413, **form)
    await client.upload(model_id, b"x" * 900_000, status=413)
    assert len(engine._assets) == 1


async def test_auto_models_have_no_files(client):
    model_id = await client.model(model_type="auto")
    refused = await client.upload(model_id, status=422)
    assert "model_type 'custom'" in refused["detail"][0]["msg"]


async def test_where_nothing_can_be_put_aside_fields_come_first(client, config):
    model_id = await client.model()
    config.spool_dir = config.key_file / "not-a-folder"  # the client's surface has this very object
    form = multipart([("file", None), ("asset_type", "other"), ("filename", "a")], b"x")
    refused = await client("POST", f"{model_id}/custom/assets", 507, **form)
    assert "send the other fields before the file" in refused["detail"]
    fields = {"asset_type": "other", "filename": "a", "description": ""}
    form = multipart([*fields.items(), ("file", None)], b"x")
    await client("POST", f"{model_id}/custom/assets", 201, **form)


async def test_of_one_name_uploaded_many_times_at_once_one_file_stays(client, engine):
    model_id = await client.model()
    made = await asyncio.gather(*(client.upload(model_id, b"%d" % n) for n in range(12)))
    listed = (await client("GET", f"{model_id}/custom/assets"))["assets"]
    assert [each["asset_id"] for each in listed] == [max(each["asset_id"] for each in made)]
    assert len(engine._assets) == 1


async def test_a_file_for_a_model_that_is_deleted_meanwhile_is_not_kept(client, engine):
    model_id = await client.model()
    create = engine.create_asset

    async def slow(*given, **more):
        made = await create(*given, **more)
        engine._documents.clear()
        return made

    engine.create_asset = slow
    await client.upload(model_id, status=404)
    assert not engine._assets
