"""Training, what is told of it, versions and history, over the engine in memory."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from urllib.parse import urlsplit

import aiohttp
import pytest

from trainbox_plugins.custom_training.curves import thinned
from trainbox_sdk.errors import Conflict, FieldError, ValidationFailed
from trainbox_sdk.jobs import State

ORG_2 = {"org_id": "user-2", "sub": "eve@example.test"}


def job_of(engine, run):
    return next(job for job in engine._jobs.values() if job.labels.get("run_id") == run["run_id"])


@pytest.fixture
async def model_id(client):
    return await client.trainable()


async def test_a_run_as_the_document_has_it(client, model_id, engine):
    body = {
        "environment_vars": {"LEARNING_RATE": "0.001", "EPOCHS": "50"},
        "compute": {"cpu_cores": 4, "memory_gb": 16, "gpu": False},
        "run_label": "custom-run-experiment-1",
        "timeout_seconds": 14400,
    }
    run = await client.train(model_id, **body)
    assert set(run) == {
        "run_id", "model_id", "model_type", "status", "entry_point", "runtime", "compute",
        "run_label", "created_at", "estimated_start_time",
    }  # fmt: skip
    assert re.fullmatch(r"run-custom-\d{8}-[0-9a-f]{6}", run["run_id"])
    assert run["compute"] == body["compute"]
    assert (run["status"], run["model_type"]) == ("queued", "custom")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z", run["created_at"])
    assert (await client("GET", model_id))["status"] == "training"
    job = job_of(engine, run)
    assert (job.name, job.resources.timeout_s) == (model_id, 14400)
    assert job.params["environment_vars"] == body["environment_vars"]
    assert [each["name"] for each in job.params["assets"]] == ["train.py"]
    shown = await client("GET", f"{model_id}/runs/{run['run_id']}")
    assert shown["environment_vars"] == ["EPOCHS", "LEARNING_RATE"]
    assert "0.001" not in str(shown)


@pytest.mark.parametrize(
    ("more", "loc"),
    [
        ({"entry_point": "other.py"}, ["body", "entry_point"]),
        ({"entry_point": "w.bin"}, ["body", "entry_point"]),
        ({"entry_point": "./train.py"}, ["body", "entry_point"]),
        ({"entry_point": None}, ["body", "entry_point"]),
        ({"runtime": "python3.9"}, ["body", "runtime"]),
        ({"environment_vars": {"A": 1}}, ["body", "environment_vars", "A"]),
        ({"compute": {"cpu_cores": 0}}, ["body", "compute", "cpu_cores"]),
        ({"compute": {"cpu_cores": 33}}, ["body", "compute", "cpu_cores"]),
        ({"compute": {"cpu_cores": 1.5}}, ["body", "compute", "cpu_cores"]),
        ({"compute": {"memory_gb": 129}}, ["body", "compute", "memory_gb"]),
        ({"compute": {"gpu": "yes"}}, ["body", "compute", "gpu"]),
        ({"timeout_seconds": 86_401}, ["body", "timeout_seconds"]),
        ({"timeout_seconds": True}, ["body", "timeout_seconds"]),
    ],
)
async def test_what_cannot_be_run_says_where(client, model_id, more, loc):
    await client.upload(model_id, asset_type="weights", filename="w.bin")
    refused = await client.train(model_id, 422, **more)
    assert [one["loc"] for one in refused["detail"]] == [loc]


async def test_the_order_of_refusals(client, model_id):
    """Body before model type, that before files, those before data, and the race last."""
    auto = await client.model("auto", model_type="auto")
    assert (await client.train(auto, 422, runtime="x"))["detail"][0]["loc"][1] == "runtime"
    assert "model_type is 'auto'" in (await client.train(auto, 422))["detail"][0]["msg"]
    bare = await client.model("bare")
    assert "asset_type 'script'" in (await client.train(bare, 422))["detail"][0]["msg"]
    await client.upload(bare)
    assert "no dataset is linked" in (await client.train(bare, 422))["detail"][0]["msg"]
    await client.train(model_id)
    await client.train(model_id, 422, entry_point="other.py")
    assert "in progress" in (await client.train(model_id, 409))["detail"]


async def test_of_many_at_once_one_wins(client, model_id, engine):
    body = {"entry_point": "train.py", "runtime": "python3.11"}

    async def post() -> int:
        url = f"/api/v1/models/{model_id}/custom/train"
        async with client.session.post(url, json=body, headers=client.headers) as reply:
            return reply.status

    statuses = await asyncio.gather(*(post() for _ in range(50)))
    assert sorted(statuses) == [202] + [409] * 49
    started = [each for each in engine._audit if each.act == "model.custom_training_started"]
    assert [each.object for each in started] == [model_id]


async def test_a_run_id_that_is_taken_is_not_used(client, model_id, engine, monkeypatch):
    ids = iter(["run-custom-20260313-aaaaaa"] * 3 + ["run-custom-20260313-bbbbbb"])
    path = "trainbox_plugins.custom_training.training.new_run_id"
    monkeypatch.setattr(path, lambda _: next(ids))
    first = await client.train(model_id)
    await engine.finish(job_of(engine, first).id)
    assert (await client.train(model_id))["run_id"] == "run-custom-20260313-bbbbbb"


async def test_a_crash_before_the_job_is_noted_loses_nothing(client, model_id, engine):
    engine.raises["write_documents"] = Conflict("the daemon dies here")
    await client.train(model_id, 409)
    engine.raises.clear()
    (run,) = (await client("GET", f"{model_id}/runs"))["runs"]
    assert run["status"] == "queued"
    await engine.finish(job_of(engine, run).id)
    assert (await client("GET", model_id))["status"] == "ready"


@pytest.mark.parametrize(
    ("state", "status", "word"),
    [
        (State.SUCCEEDED, "completed", "model.training_completed"),
        (State.FAILED, "failed", "model.training_failed"),
        (State.INTERRUPTED, "failed", "model.training_failed"),
        (State.CANCELLED, "cancelled", "model.training_cancelled"),
    ],
)
async def test_ends(client, model_id, engine, state, status, word):
    run = await client.train(model_id)
    await engine.finish(job_of(engine, run).id, state)
    shown = await client("GET", f"{model_id}/runs/{run['run_id']}")
    assert shown["status"] == status
    assert (shown["version_created"] is not None) == (status == "completed")
    model = await client("GET", model_id)
    assert model["status"] == ("ready" if status == "completed" else "draft")
    entries = (await client("GET", f"{model_id}/audit-logs"))["entries"]
    assert (entries[0]["action"], entries[0]["details"]["run_id"]) == (word, run["run_id"])
    await client("POST", f"{model_id}/runs/{run['run_id']}/cancel", 409)
    await client.train(model_id)


async def test_cancelling(client, model_id):
    run = await client.train(model_id)
    ended = await client("POST", f"{model_id}/runs/{run['run_id']}/cancel", 202)
    assert ended["status"] == "cancelled"
    entries = (await client("GET", f"{model_id}/audit-logs?page_size=2"))["entries"]
    assert [(each["action"], each["actor_id"]) for each in entries] == [
        ("model.training_cancelled", "daemon"),
        ("model.training_cancel_requested", "ada@example.test"),
    ]
    await client("GET", f"{model_id}/runs/run-custom-20260313-000000", 404)


async def test_generic_train_runs_the_one_script(client, model_id, engine):
    run = await client("POST", f"{model_id}/train", 202, json={"priority": "high"})
    job = job_of(engine, run)
    assert (run["entry_point"], job.priority, job.task) == ("train.py", 10, "custom_script")
    await engine.finish(job.id)
    await client.upload(model_id, filename="second.py")
    refused = await client("POST", f"{model_id}/train", 422, json={})
    assert "there are 2 scripts" in refused["detail"][0]["msg"]


async def test_automl_where_there_is_one(client, engine):
    auto = await client.model("auto", model_type="auto", task_type="regression")
    assert "target" in (await client("POST", f"{auto}/train", 422, json={}))["detail"][0]["msg"]
    config = {"target_column": "left", "feature_columns": ["age", "city"]}
    body = {"config_override": config}
    refused = await client("POST", f"{auto}/train", 422, json=body)
    assert "no dataset" in refused["detail"][0]["msg"]
    await client("POST", f"{auto}/dataset", json={"dataset_id": await client.dataset()})
    run = await client("POST", f"{auto}/train", 202, json=body)
    job = job_of(engine, run)
    assert re.fullmatch(r"run-auto-\d{8}-[0-9a-f]{6}", run["run_id"])
    assert (job.task, dict(job.params)) == (
        "regression",
        {"target": "left", "features": ["age", "city"]},
    )
    clusters = await client.model("c", model_type="auto", task_type="clustering")
    refused = await client("POST", f"{clusters}/train", 422, json={})
    assert "clustering" in refused["detail"][0]["msg"]


# --- what is told of a run


async def test_curves_are_thinned_evenly_between_first_and_last(client, model_id, engine):
    run = await client.train(model_id)
    job = job_of(engine, run)
    await client("GET", f"{model_id}/training-metrics")
    for step in range(200):
        await engine.emit(job.id, "metric", name="loss", value=1 / (step + 1), step=step, epoch=step // 20 + 1)  # fmt: skip
    await engine.emit(job.id, "metric", name="accuracy", value=0.5)
    for path in ("training-metrics", "training/metrics"):
        said = await client("GET", f"{model_id}/{path}?resolution=5")
        assert [point["step"] for point in said["metrics"]["loss"]] == [0, 50, 100, 149, 199]
        assert len(said["metrics"]["accuracy"]) == 1
        assert (said["run_id"], said["epochs_completed"]) == (run["run_id"], 10)
    assert len((await client("GET", f"{model_id}/training-metrics"))["metrics"]["loss"]) == 50
    one = await client("GET", f"{model_id}/training-metrics?metric=accuracy")
    assert list(one["metrics"]) == ["accuracy"]
    await client("GET", f"{model_id}/training-metrics?metric=none", 404)
    await client("GET", f"{model_id}/training-metrics?resolution=1", 422)


def test_thinning_keeps_order_and_ends():
    for count in range(2, 300, 7):
        for resolution in range(2, 60, 3):
            kept = thinned(range(count), resolution)
            assert len(kept) == min(count, resolution)
            assert (kept[0], kept[-1]) == (0, count - 1)
            steps = {b - a for a, b in zip(kept, kept[1:], strict=False)}
            assert max(steps) - min(steps) <= 1


def test_a_curve_that_grew_sparser_is_evenly_sparse():
    places = [*range(4096), *range(4096, 8192, 2), *range(8192, 10_000, 4), 9_999]
    for resolution in (20, 500, 10_000):
        kept = thinned(places, resolution, places)
        assert (kept[0], kept[-1]) == (0, 9_999)
        steps = [b - a for a, b in zip(kept, kept[1:], strict=False)]
        assert max(steps) - min(steps) <= 8
        assert len(kept) == min(resolution, 2501)
    assert thinned("abc", 2, [0, 7, 3]) == ["a", "c"]  # two processes, or a retry


async def test_a_thinned_curve_keeps_its_second_half(client, model_id, engine):
    run = await client.train(model_id)
    job = job_of(engine, run)
    for step in (0, 1, 2, 3, 4, 6, 8, 10):
        thinned_away = {} if step < 5 else {"nth": step}
        await engine.emit(
            job.id, "metric", name="loss", step=step, epoch=step, value=1, **thinned_away
        )
    said = await client("GET", f"{model_id}/training-metrics")
    assert [point["step"] for point in said["metrics"]["loss"]] == [0, 2, 4, 6, 8, 10]
    assert said["epochs_completed"] == 11


async def test_details_of_a_run(client, model_id, engine):
    run = await client.train(model_id)
    await engine.run(job_of(engine, run).id)
    said = await client("GET", f"{model_id}/training-metrics/details")
    stages = [each["stage"] for each in said["pipeline_stages"]]
    assert stages == ["queued", "preparing", "running"]
    assert all(each["completed_at"] for each in said["pipeline_stages"])
    assert (said["dataset_rows_used"], said["final_algorithm"]) == (9, None)
    assert said["resource_usage"]["worker_type"] == "cpu"
    assert said["version_created"].startswith("ver-")


async def test_lines_are_chosen_counted_and_paged(client, model_id, engine):
    await client("GET", f"{model_id}/training-logs", 404)
    run = await client.train(model_id)
    job = job_of(engine, run)
    lines = [f"line {n}" for n in range(20)] + ["DEBUG: x", "WARNING: y", "ERROR: z"]
    await engine.write_log(job.id, "\n".join(lines).encode() + b"\n")
    said = await client("GET", f"{model_id}/training-logs")
    assert (said["total_lines"], len(said["lines"])) == (22, 22)
    said = await client("GET", f"{model_id}/training/logs?level=warning&limit=1")
    assert (said["total_lines"], said["lines"][0]["message"]) == (2, "WARNING: y")
    said = await client("GET", f"{model_id}/training-logs?tail=true&limit=2&offset=1")
    assert [each["message"] for each in said["lines"]] == ["line 19", "WARNING: y"]
    said = await client("GET", f"{model_id}/training-logs?limit=2&offset=3")
    assert [each["line"] for each in said["lines"]] == [4, 5]
    await client("GET", f"{model_id}/training-logs?limit=5001", 422)
    await client("GET", f"{model_id}/training-logs?run_id=run-none", 404)
    await client("GET", f"{model_id}/training-logs/download", 404)
    await engine.finish(job.id)
    await client.train(model_id)
    text = await client("GET", f"{model_id}/training-logs/download")
    assert text.decode().splitlines()[-1] == "- ERROR   ERROR: z"
    said = await client("GET", f"{model_id}/training/logs/download?format=json")
    assert (said["run_id"], len(said["lines"])) == (run["run_id"], 23)


# --- versions


async def version(client, model_id, engine) -> str:
    run = await client.train(model_id)
    await engine.run(job_of(engine, run).id)
    return (await client("GET", f"{model_id}/runs/{run['run_id']}"))["version_created"]


async def test_promoting_demotes_the_one_before(client, model_id, engine):
    first, second = [await version(client, model_id, engine) for _ in range(2)]
    listed = await client("GET", f"{model_id}/versions")
    assert [each["version_id"] for each in listed["versions"]] == [second, first]
    assert [each["version"] for each in listed["versions"]] == [2, 1]
    for one, other in ((first, second), (second, first)):
        assert (await client("POST", f"{model_id}/versions/{one}/promote"))["promoted"]
        assert not (await client("GET", f"{model_id}/versions/{other}"))["promoted"]
    entries = await client("GET", f"{model_id}/audit-logs?action=model.version_promoted")
    assert entries["entries"][0]["details"]["demoted"] == first
    other = await client.trainable("other")
    await client("GET", f"{other}/versions/{first}", 404)
    await client("POST", f"{model_id}/versions/ver-none/promote", 404)


async def test_a_link_opens_one_file_for_a_while(client, model_id, engine, monkeypatch):
    await client("GET", f"{model_id}/download", 422)
    id_ = await version(client, model_id, engine)
    await client("POST", f"{model_id}/versions/{id_}/promote")
    said = await client("GET", f"{model_id}/download?expires_in=60")
    assert (said["format"], said["version_id"]) == ("onnx", id_)
    url = urlsplit(said["download_url"])

    async def get(path: str, query: str) -> tuple[int, bytes]:
        async with client.session.get(f"{path}?{query}") as reply:
            return reply.status, await reply.read()

    status, data = await get(url.path, url.query)
    assert (status, len(data)) == (200, said["size_bytes"])
    flipped = url.query[:-1] + ("0" if url.query[-1] != "0" else "1")
    assert (await get(url.path, flipped))[0] == 403
    later = url.query.replace("expires=", "expires=1")
    assert (await get(url.path, later))[0] == 403
    assert (await get(url.path.replace(model_id, "mdl-other"), url.query))[0] == 403
    assert (await get(url.path, "expires=1"))[0] == 422
    monkeypatch.setattr("time.time", lambda: 4e9)
    status, data = await get(url.path, url.query)
    assert (status, b"expired" in data) == (403, True)
    refused = await client("GET", f"{model_id}/download?format=pkl", 422, headers=client.headers)
    assert "this version has onnx" in refused["detail"][0]["msg"]


async def test_trying_a_version(client, model_id, engine):
    body = {"inputs": {"age": 40, "city": "Oslo"}}
    await client("POST", f"{model_id}/test", 409, json=body)
    id_ = await version(client, model_id, engine)
    refused = await client("POST", f"{model_id}/test", 422, json=body)
    assert "no version of this model is promoted" in refused["detail"][0]["msg"]
    signature = (await client("POST", f"{model_id}/test", 422, json={"inputs": {}, "version_id": id_}))["detail"]  # fmt: skip
    names = [one["loc"][-1] for one in signature]
    assert [one["loc"][:2] for one in signature] == [["body", "inputs"]] * len(names)
    body = {"inputs": dict.fromkeys(names, 1), "version_id": id_}
    said = await client("POST", f"{model_id}/test", json=body)
    assert (said["prediction"], said["probabilities"]) == ("yes", {"yes": 0.75, "no": 0.25})
    assert said["latency_ms"] >= 0
    said = await client("POST", f"{model_id}/test", json={**body, "inputs": [body["inputs"]]})
    assert len(said["predictions"]) == 1
    await client.train(model_id)
    await client("POST", f"{model_id}/test", 409, json=body)


# --- history


async def test_the_audit_log_of_a_model(client, model_id, engine):
    await version(client, model_id, engine)
    said = await client("GET", f"{model_id}/audit-logs?sort_order=asc")
    actions = [each["action"] for each in said["entries"]]
    assert actions == [
        "model.created", "model.custom_asset_uploaded", "model.dataset_linked",
        "model.custom_training_started", "model.training_completed",
    ]  # fmt: skip
    assert {each["actor_id"] for each in said["entries"]} == {"ada@example.test", "daemon"}
    page = await client("GET", f"{model_id}/audit-logs?page=2&page_size=2")
    assert (page["total"], page["page"]) == (5, 2)
    assert [each["action"] for each in page["entries"]] == actions[::-1][2:4]
    for query in ("from=2026-01-01T00:00:00", "page_size=201", "sort_order=up", "who=x", "to=0.5", "from=1700000000",
                  "from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z"):  # fmt: skip
        await client("GET", f"{model_id}/audit-logs?{query}", 422)
    activity = await client("GET", f"{model_id}/activity?limit=2&offset=1")
    assert activity["total"] == 5
    assert [each["event_type"] for each in activity["events"]] == actions[::-1][1:3]
    only = await client("GET", f"{model_id}/activity?event_type=model.created")
    assert only["total"] == 1


@pytest.mark.parametrize(
    ("epochs", "stated", "variables", "completed", "total"),
    [
        ([1, 2, 3], 7, {}, 3, 7),
        ([1, 2, 3], 7, {"EPOCHS": "99"}, 3, 7),  # what the script says itself wins
        ([1, 455, 1200], 1200, {}, 1200, 1200),
        ([0, 455, 1199], 1200, {}, 1200, 1200),
        ([0, 5, 10], 10, {}, 10, 10),  # measured once before it began
        ([1, 2, 3], 2, {}, 3, 3),  # it went on
        ([0, 1, 2], None, {"EPOCHS": "50"}, 3, 50),
        (range(10), None, {"EPOCHS": "9"}, 10, 10),
        ([1, 9], None, {"EPOCHS": "many"}, 9, None),
        ([1, 2], "many", {}, 2, None),
        ([1, 2], 2.5, {}, 2, None),
        ([0.5, 1.0, 1.5], 3.0, {}, 1, 3),
        ([None], 10, {}, None, 10),
        ([True, -1, 1e300, float("inf"), float("nan")], -5, {}, None, None),
    ],
)
async def test_epochs(client, model_id, engine, epochs, stated, variables, completed, total):
    run = await client.train(model_id, environment_vars=variables)
    job = job_of(engine, run)
    for epoch in epochs:
        more = {} if stated is None else {"total_epochs": stated}
        await engine.emit(job.id, "metric", name="loss", value=1.0, epoch=epoch, **more)
    said = await client("GET", f"{model_id}/training-metrics")
    assert (said["epochs_completed"], said["total_epochs"]) == (completed, total)


async def test_epochs_are_not_worked_out_from_progress_of_another_moment(client, model_id, engine):
    job = job_of(engine, await client.train(model_id))
    for epoch in range(10):
        await engine.emit(job.id, "metric", name="loss", value=1.0, epoch=epoch)
        await engine.emit(job.id, "progress", fraction=(epoch + 1) / 10)
    said = await client("GET", f"{model_id}/training-metrics")
    assert (said["epochs_completed"], said["total_epochs"]) == (10, None)


async def test_a_reason_has_the_words_of_the_dialect_and_does_nothing_to_a_screen(
    client, model_id, engine
):
    run = await client.train(model_id)
    job = job_of(engine, run)
    await engine.finish(job.id, State.FAILED)
    said = "ask for more with timeout_s, or memory_bytes\n\x1b[2Jred\u202e"
    engine._jobs[job.id] = replace(engine._jobs[job.id], reason=said)
    shown = await client("GET", f"{model_id}/runs/{run['run_id']}")
    assert shown["reason"] == (
        "ask for more with timeout_seconds, or compute.memory_gb \ufffd[2Jred\ufffd"
    )


async def test_a_script_takes_no_config_override(client, model_id):
    body = {"config_override": {"target_column": "left"}}
    refused = await client("POST", f"{model_id}/train", 422, json=body)
    assert refused["detail"][0]["loc"] == ["body", "config_override"]
    assert "environment_vars" in refused["detail"][0]["msg"]


@pytest.mark.parametrize(
    ("inputs", "locs"),
    [
        ({"age": [1]}, [["age"]]),
        ([{"age": 1}, {"age": {"a": 1}}], [[1, "age"]]),
        ([1], [[0]]),
        ([], [[]]),
        ("x", [[]]),
    ],
)
async def test_a_row_that_is_wrong_says_where_once(client, model_id, inputs, locs):
    refused = await client("POST", f"{model_id}/test", 422, json={"inputs": inputs})
    assert [one["loc"] for one in refused["detail"]] == [["body", "inputs", *loc] for loc in locs]


async def test_what_is_wrong_with_data_says_where_in_the_file(client, engine):
    fault = FieldError(("body", "row 1", "column 'age'"), "not a number")
    engine.raises["put_dataset"] = ValidationFailed("1 problem", errors=[fault])
    form = aiohttp.FormData()
    form.add_field("file", b"a\n", filename="a.csv")
    refused = await client("POST", "/api/v1/datasets", 422, data=form)
    assert refused["detail"][0]["loc"] == ["body", "file", "row 1", "column 'age'"]
