"""The directory of a model that is no ONNX file: named for what it is, and without what would load it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from trainbox.engine.artifact_directory.contents import contents
from trainbox.engine.artifact_directory.facts import Origin, model_file
from trainbox.engine.finish import new_model
from trainbox.engine.outputs import Collected
from trainbox.engine.predict_values import unserved
from trainbox.store.records import NewArtifact
from trainbox_sdk.artifacts import ArtifactView, ModelView
from trainbox_sdk.engine import Principal
from trainbox_sdk.jobs import JobSpec
from trainbox_sdk.tasks import Output, StepPlan
from trainbox_sdk.testing import fake_data

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def artifact(name: str, media_type: str) -> ArtifactView:
    return ArtifactView("art_1", "job_1", "run", name, "model", "sha256:0", 1, media_type, NOW)


@pytest.mark.parametrize(
    ("name", "media_type", "expected"),
    [
        ("model", "application/onnx", "model.onnx"),
        ("model/graph.onnx", "application/onnx", "model.onnx"),
        ("model.onnx", "application/octet-stream", "model.onnx"),
        ("model.tar", "application/x-tar", "model.tar"),
        ("model", "application/x-pickle", "model.pkl"),
        ("model", "application/zip", "model.zip"),
        ("model", "application/octet-stream", "model.bin"),
    ],
)
def test_it_is_called_what_it_is(name: str, media_type: str, expected: str) -> None:
    assert model_file(artifact(name, media_type)) == expected


def origin() -> Origin:
    spec = JobSpec(task="custom_script", name="m", params={})
    job = fake_data.new_job("job_1", "stp_1", Principal("tok_1", "ann", frozenset()), spec)
    model = ModelView(
        id="mdl_1",
        name="m",
        version=1,
        job_id="job_1",
        task="custom_script",
        artifact_id="art_1",
        digest="sha256:" + "1" * 64,
        bytes=5,
        dataset_id=None,
        signature={},
        metrics={},
        parity={},
        aliases=(),
        created_at=NOW,
    )
    return Origin("abc", model, replace(job, started_at=NOW), None)


def test_nothing_in_the_directory_claims_a_graph() -> None:
    whole = contents(origin())
    bare = contents(replace(origin(), file="model.pkl"))
    gone = {
        "MLmodel",
        "requirements.txt",
        "python_env.yaml",
        "conda.yaml",
        "code/trainbox_model.py",
    }
    assert gone <= whole.keys()
    assert not gone & bare.keys()
    for path, data in bare.items():
        assert b"model.onnx" not in data, path
    assert b'"model.pkl"' in bare["manifest.json"]
    assert b'"model.pkl"' in bare["provenance.json"]


@pytest.mark.parametrize(
    ("check", "media_type", "signed"),
    [("onnx", "application/x-pickle", {}), (None, "application/octet-stream", {"inputs": [1]})],
    ids=["checked", "never checked"],
)
async def test_what_a_script_claims_of_its_own_pickle_is_not_believed(
    check: str | None, media_type: str, signed: dict
) -> None:
    plan = StepPlan(
        "run", "x:y", (), "env", outputs=(Output("model", kind="model", check=check, tree=True),)
    )
    step = SimpleNamespace(
        plan=plan, job_name="m", task="custom_script", backend="docker", environment_ref=""
    )
    left = NewArtifact("art_1", "model", "model", "sha256:0", 1, media_type)
    collected = Collected((left,), {"signature": {"inputs": [1]}})
    made = await new_model(None, step, collected, {})  # type: ignore[arg-type]
    assert made is not None
    assert made.signature == signed
    assert bool(unserved(made.signature)) is not bool(signed)
