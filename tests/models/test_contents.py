"""The directory as a pure function: the same bytes each time, whatever a guest put into its report."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from datetime import UTC, datetime

import pytest
import yaml
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbox.engine.artifact_directory import facts, yaml_text
from trainbox.engine.artifact_directory.archive import lay_out
from trainbox.engine.artifact_directory.contents import contents
from trainbox.engine.artifact_directory.facts import Origin
from trainbox.engine.artifact_directory.provenance import params_digest
from trainbox_sdk.artifacts import ModelView
from trainbox_sdk.jobs import JobSpec
from trainbox_sdk.engine import Principal
from trainbox_sdk.testing import fake_data

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WORDS = st.text(max_size=30) | st.sampled_from(["a|b", "x\ny", "`<b>`", "\ud800", "---", "# no"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=12,
)
KEYS = ("baseline", "best_params", "importance", "classes", "search", "target", "rows")
RESULTS = st.fixed_dictionaries({}, optional={key: JSON for key in KEYS})
LOCK = """
# a comment
catboost==1.2.10 \\
    --hash=sha256:aa
Graphviz==0.21 ; python_version > "3"
onnxruntime[extra]==1.31.1
-r other.txt
"""


def origin(**changes):
    who = Principal("tok_1", "ann", frozenset())
    spec = JobSpec(task="binclass", name="churn", params=changes.pop("params", {"target": "y"}))
    job = fake_data.new_job("job_1", "stp_1", who, spec)
    job = job.__class__(**{**vars(job), "created_at": AT, "started_at": AT})
    model = ModelView(
        id="mdl_1",
        name=changes.pop("name", "churn"),
        version=3,
        job_id="job_1",
        task="binclass",
        artifact_id="art_1",
        digest="sha256:" + "1" * 64,
        bytes=5,
        dataset_id=None,
        signature=changes.pop("signature", {"inputs": [{"name": "x", "type": "number"}]}),
        metrics={"auc": 0.75},
        parity=changes.pop("parity", {"passed": True, "rows": 10}),
        aliases=(),
        created_at=AT,
    )
    return Origin("abc", model, job, None, **changes)


def check(found):
    """Every file can be read as what it says it is."""
    for path, data in found.items():
        text = data.decode()
        if path.endswith(".json"):
            json.loads(text)
        if path.endswith(".yaml") or path == "MLmodel":
            assert isinstance(yaml.safe_load(text), dict), path
    card = found["card.md"].decode()
    assert isinstance(yaml.safe_load(card.split("\n---\n")[0].removeprefix("---\n")), dict)
    assert (
        JsonStrictValidator(SchemaVersion.V1_6).validate_str(found["sbom.cdx.json"].decode())
        is None
    )
    files = json.loads(found["manifest.json"])["files"]
    assert files.keys() - {"model.onnx"} == found.keys() - {"manifest.json"}
    for path in files.keys() - {"model.onnx"}:
        assert files[path]["sha256"] == hashlib.sha256(found[path]).hexdigest()


@settings(max_examples=60, deadline=None)
@given(result=RESULTS, name=WORDS.filter(bool), signature=JSON, parity=JSON, params=JSON)
def test_a_guest_may_report_anything(result, name, signature, parity, params):
    def mapping(value):
        return value if isinstance(value, dict) else {"value": value}

    made = origin(
        name=name,
        signature=mapping(signature),
        parity=mapping(parity),
        params=mapping(params),
        facts={"result": result},
    )
    found = contents(made)
    check(found)
    assert contents(made) == found


@pytest.mark.parametrize(
    "claim",
    [
        None,
        5,
        {},
        {"rows": [], "predictions": []},
        {"rows": [1], "predictions": [2]},
        {"rows": [{"a": 1}, {"b": 1}], "predictions": []},
        {"rows": {"a": 1}, "predictions": []},
    ],
    ids=repr,
)
def test_a_preview_that_is_none_is_left_out(claim):
    kept = facts.record({}, {"preview": claim}, backend="b", environment=None, reference="")
    assert kept["preview"] is None
    assert "preview.json" not in contents(origin(facts=kept))


def test_the_first_sandboxs_preview_counts_for_nothing():
    claim = {"rows": [{"x": 1}], "predictions": [{"prediction": 1}]}
    kept = facts.record({"preview": claim}, {}, backend="b", environment=None, reference="")
    assert kept["preview"] is None and "preview" not in kept["result"]
    kept = facts.record({}, {"preview": claim}, backend="b", environment=None, reference="")
    assert kept["preview"] == {"source": "", **claim}


def test_packages_come_from_the_lock():
    assert facts.packages_of(LOCK) == [
        ["catboost", "1.2.10"],
        ["graphviz", "0.21"],
        ["onnxruntime", "1.31.1"],
    ]


def test_requirements_are_pinned_where_the_environment_was():
    packages = [["numpy", "2.4.6"], ["onnxruntime", "1.31.1"]]
    environment = {"name": "e", "python": "3.12", "digest": "d" * 64, "packages": packages}
    found = contents(origin(facts={"environment": environment}))
    lines = found["requirements.txt"].decode().splitlines()
    assert lines == ["mlflow>=3.0", "numpy==2.4.6", "onnxruntime==1.31.1", "pandas>=2.2"]
    assert yaml.safe_load(found["python_env.yaml"])["python"] == "3.12"
    bare = contents(origin())
    assert bare["requirements.txt"].decode().splitlines()[2] == "onnxruntime>=1.20"


def test_a_hosts_directory_stays_on_the_host():
    kept = facts.record({}, {}, backend="process", environment=None, reference="/var/lib/x/venv")
    assert "/var/lib" not in json.dumps(kept)


def test_the_digest_of_parameters_does_not_depend_on_their_order():
    assert params_digest({"a": 1, "b": [True]}) == params_digest({"b": [True], "a": 1})
    assert params_digest({"a": 1}) != params_digest({"a": 2})


def test_yaml_is_read_back_as_it_was():
    document = {
        "empty": {},
        "none": None,
        "list": [1, "a: b", {"k": "é\n", "n": [1.5, {"x": []}]}, []],
        "text": "- not a list # no comment",
        "said": "no",
        "deep": {"er": {"est": True}},
    }
    assert yaml.safe_load(yaml_text.dump(document)) == document


def test_a_tar_laid_out_is_a_tar(tmp_path):
    sizes = {"a": 0, "b/c.txt": 1, "d": 512, "e" * 120: 513, "ünï": 10_000}
    files = []
    for number, (name, size) in enumerate(sizes.items()):
        (tmp_path / str(number)).write_bytes(bytes([number]) * size)
        files.append((name, size, tmp_path / str(number)))
    parts = lay_out("folder", files, AT)
    data = b"".join(part.data if part.path is None else part.path.read_bytes() for part in parts)
    assert len(data) == sum(part.size for part in parts)
    assert len(data) % tarfile.RECORDSIZE == 0
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {member.name: tar.extractfile(member).read() for member in tar}
        assert {member.mtime for member in tar} == {int(AT.timestamp())}
    assert found == {
        f"folder/{name}": bytes([number]) * size
        for number, (name, size) in enumerate(sizes.items())
    }
