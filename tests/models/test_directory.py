"""A model taken away: its files, the tar of them, and what each of them says."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from datetime import datetime

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("models")]

FILES = {
    "MLmodel",
    "card.md",
    "code/trainbox_model.py",
    "conda.yaml",
    "input_example.json",
    "manifest.json",
    "metrics.json",
    "model.onnx",
    "preview.json",
    "provenance.json",
    "python_env.yaml",
    "requirements.txt",
    "sbom.cdx.json",
    "signature.json",
}


def ask(daemon, method, url, **options):
    """Return status, headers by lower-case name, and body."""
    status, headers, body = daemon.request(method, url, **options)
    return status, {name.lower(): value for name, value in headers.items()}, body


@pytest.fixture(scope="module")
def directory(trained):
    """Every file of version 1 by path, as downloaded."""
    url = f"/v1/models/{trained.models[0]['id']}/files"
    listing = trained.daemon.call("GET", url)
    found = {}
    for file in listing["files"]:
        status, headers, body = ask(trained.daemon, "GET", f"{url}/{file['path']}")
        assert status == 200, (file, body)
        assert headers["etag"] == f'"{file["digest"]}"'
        assert headers["content-type"].split(";")[0] == file["media_type"]
        assert f"sha256:{hashlib.sha256(body).hexdigest()}" == file["digest"]
        assert len(body) == file["bytes"]
        found[file["path"]] = body
    return found


def test_every_file_is_there_and_in_the_manifest(trained, directory):
    assert set(directory) == FILES
    manifest = json.loads(directory["manifest.json"])
    assert set(manifest["files"]) == FILES - {"manifest.json"}
    for path, said in manifest["files"].items():
        body = directory[path]
        assert said == {"sha256": hashlib.sha256(body).hexdigest(), "bytes": len(body)}
    model = trained.models[0]
    assert manifest["model"] == {"id": model["id"], "name": trained.name, "version": 1}
    listing = trained.daemon.call("GET", f"/v1/models/{model['id']}/files")
    assert listing["digest"] == f"sha256:{hashlib.sha256(directory['manifest.json']).hexdigest()}"


def test_the_preview_is_what_the_daemon_predicts(trained, directory):
    preview = json.loads(directory["preview.json"])
    assert (preview["source"], len(preview["rows"]), len(preview["predictions"])) == (
        "holdout",
        3,
        3,
    )
    answer = trained.daemon.call(
        "POST", f"/v1/models/{trained.models[0]['id']}/predict", {"rows": preview["rows"]}
    )
    for here, there in zip(answer["rows"], preview["predictions"], strict=True):
        assert here["prediction"] == there["prediction"]
        assert here["probabilities"] == pytest.approx(there["probabilities"], abs=1e-6)
    example = json.loads(directory["input_example.json"])
    assert [dict(zip(example["columns"], row)) for row in example["data"]] == preview["rows"]


def test_provenance_names_what_went_in(trained, directory):
    statement = json.loads(directory["provenance.json"])
    model = trained.models[0]
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [
        {"name": "model.onnx", "digest": {"sha256": model["digest"].removeprefix("sha256:")}}
    ]
    build = statement["predicate"]["buildDefinition"]
    assert build["externalParameters"]["task"] == "binclass"
    assert build["externalParameters"]["params"]["target"] == "left"
    said = {item["name"]: item["digest"]["sha256"] for item in build["resolvedDependencies"]}
    assert said["people"] == trained.dataset["digest"].removeprefix("sha256:")
    assert len(said["environment tabular"]) == 64
    run = statement["predicate"]["runDetails"]
    assert run["metadata"]["invocationId"] == model["job_id"]
    started, ended = (
        datetime.fromisoformat(run["metadata"][key]) for key in ("startedOn", "finishedOn")
    )
    assert started <= ended
    assert str(trained.daemon.state_dir) not in directory["provenance.json"].decode()


def test_the_bill_of_materials_is_valid_and_whole(trained, directory):
    text = directory["sbom.cdx.json"].decode()
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    bill = json.loads(text)
    assert bill["metadata"]["component"]["type"] == "machine-learning-model"
    names = {item["name"] for item in bill["components"]}
    assert {"catboost", "onnxruntime", "numpy", "people"} <= names


def test_the_card_has_front_matter_and_the_facts(trained, directory):
    import yaml

    card = directory["card.md"].decode()
    _, front, body = card.split("---\n", 2)
    matter = yaml.safe_load(front)
    assert matter["pipeline_tag"] == "tabular-classification"
    told = {m["type"]: m["value"] for m in matter["model-index"][0]["results"][0]["metrics"]}
    assert told == trained.models[0]["metrics"]
    for words in ("# churn model, version 1", "## Data", "## Hold-out metrics", "## Parameters"):
        assert words in body
    for words in ("## Parity", "## Limits", "| city | string |", "holdout rows"):
        assert words in body


def test_the_same_version_has_the_same_bytes_after_a_restart(trained, directory):
    url = f"/v1/models/{trained.models[0]['id']}"
    before = trained.daemon.call("GET", f"{url}/files")
    tar = ask(trained.daemon, "GET", f"{url}/archive")[2]
    trained.daemon.stop()
    trained.daemon.start()
    assert trained.daemon.call("GET", f"{url}/files") == before
    assert ask(trained.daemon, "GET", f"{url}/archive")[2] == tar


@pytest.fixture(scope="module")
def archive(trained):
    url = f"/v1/models/{trained.models[0]['id']}/archive"
    status, headers, body = ask(trained.daemon, "GET", url)
    assert status == 200
    return url, headers, body


def test_the_archive_in_three_ranges_unpacks_to_the_directory(
    trained, directory, archive, tmp_path
):
    url, headers, whole = archive
    assert int(headers["content-length"]) == len(whole)
    assert headers["accept-ranges"] == "bytes"
    _, head, nothing = ask(trained.daemon, "HEAD", url)
    assert (int(head["content-length"]), nothing) == (len(whole), b"")
    assert head["etag"] == headers["etag"]
    third = len(whole) // 3
    parts = []
    for span in (f"0-{third - 1}", f"{third}-{2 * third - 1}", f"{2 * third}-"):
        status, found, body = ask(
            trained.daemon,
            "GET",
            url,
            headers={"Range": f"bytes={span}", "If-Range": headers["etag"]},
        )
        assert status == 206 and found["content-range"].endswith(f"/{len(whole)}")
        parts.append(body)
    assert b"".join(parts) == whole
    (tmp_path / "model.tar").write_bytes(b"".join(parts))
    subprocess.run(["tar", "xf", "model.tar"], cwd=tmp_path, check=True)
    folder = tmp_path / "churn_model-v1"
    unpacked = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert unpacked == directory
    for path, said in json.loads(unpacked["manifest.json"])["files"].items():
        assert hashlib.sha256(unpacked[path]).hexdigest() == said["sha256"]
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        assert {member.mode for member in tar} == {0o644}


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=-512", 206),
        ("bytes=0-0", 206),
        ("bytes=5-2", 200),
        ("bytes=0-1,5-6", 200),
        ("bytes=-", 200),
        ("lines=1-2", 200),
        ("bytes=99999999999-", 416),
        ("bytes=-0", 416),
    ],
)
def test_odd_ranges(trained, archive, asked, status):
    url, _, whole = archive
    got, headers, body = ask(trained.daemon, "GET", url, headers={"Range": asked})
    assert got == status, body
    if status == 200:
        assert body == whole
    if status == 416:
        assert headers["content-range"] == f"bytes */{len(whole)}"


def test_conditions(trained, archive):
    url, headers, whole = archive
    etag = headers["etag"]
    assert ask(trained.daemon, "GET", url, headers={"If-None-Match": etag})[0] == 304
    assert ask(trained.daemon, "GET", url, headers={"If-Match": '"x"'})[0] == 412
    status, _, body = ask(
        trained.daemon, "GET", url, headers={"Range": "bytes=0-9", "If-Range": '"another"'}
    )
    assert (status, body) == (200, whole)


def test_wget_goes_on_where_it_stopped(trained, directory, tmp_path):
    path = tmp_path / "model.onnx"
    body = directory["model.onnx"]
    path.write_bytes(body[: len(body) // 2])
    url = f"{trained.daemon.url}/v1/models/{trained.models[0]['id']}/files/model.onnx"
    header = f"Authorization: Bearer {trained.daemon.token}"
    done = subprocess.run(
        ["wget", "-c", "--header", header, url], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "206 Partial Content" in done.stderr
    assert path.read_bytes() == body


@pytest.mark.parametrize(
    "path", ["nope", "..%2Fmodel.onnx", "code", "code/", "%2e%2e/token", "%00"]
)
def test_no_such_file(trained, path):
    url = f"/v1/models/{trained.models[0]['id']}/files/{path}"
    status, _, body = ask(trained.daemon, "GET", url)
    assert (status, json.loads(body)["code"]) == (404, "file_not_found")
