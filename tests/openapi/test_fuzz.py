"""schemathesis over the whole surface of a running daemon: what the document says is what happens.

Every check is on, but one for reads of what is in the trash (see semantics.py): no server error, no
status, header, content type or schema that is not declared,
nothing wrong accepted, nothing right refused, 405 with Allow, no way around the token. Seeds are
fixed; ``TRAINBOX_FUZZ_EXAMPLES`` (3 each by default) and ``TRAINBOX_FUZZ_SEED`` make a longer run.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from trainbox_sdk.testing.daemon import DaemonProcess

from .semantics import MISSING, SEMANTIC, TRASHABLE, semantic

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("openapi-fuzz")]

EXAMPLES = int(os.environ.get("TRAINBOX_FUZZ_EXAMPLES", "3"))
SEED = int(os.environ.get("TRAINBOX_FUZZ_SEED", "3"))

SURFACES = {
    "datasets": r"^/v1/(datasets|uploads|trash)",
    "jobs": r"^/v1/(jobs|events|artifacts|webhooks)",
    "assets": r"^/v1/assets",
    "models": r"^/v1/models",
    "inference": r"^/v2",
    "catalogue": r"^/v1/(tasks|plugins|environments)",
    "daemon": r"^/(livez|healthz|readyz|metrics|openapi\.json|docs)",
    "audit": r"^/v1/audit",
    # Last: these may end the token that is used, or the taking of work.
    "tokens": r"^/v1/tokens",
    "admin": r"^/v1/admin",
}

CSV = b"age,city,left\n" + b"".join(
    b"%d,%s,%s\n" % (20 + n % 40, (b"Oslo", b"Rome")[n % 2], (b"yes", b"no")[n % 3 == 0])
    for n in range(60)
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    state = tmp_path_factory.mktemp("fuzz") / "state"
    with DaemonProcess(state, env={"TRAINBOX_BACKEND": "process"}) as running:
        yield running


@pytest.fixture(scope="module")
def known(daemon):
    """Things that are there, so that reading finds something: by operation and parameter."""
    dataset = daemon.upload(CSV, name="people")
    params = {"target": "left", "trials": 1, "max_iterations": 5}
    job = daemon.wait(daemon.submit("binclass", dataset_id=dataset["id"], params=params))
    assert job["state"] == "succeeded", job["reason"]
    artifacts = daemon.call("GET", f"/v1/jobs/{job['id']}/artifacts")["items"]
    model = daemon.call("GET", f"/v1/models/{job['model_id']}")
    asset = json.loads(daemon.request("POST", "/v1/assets?filename=a.py", b"pass")[2])
    return {
        "/v1/assets/{id}": {"id": asset["id"]},
        "/v1/datasets/{id}": {"id": dataset["id"]},
        "/v1/jobs/{id}": {"id": job["id"]},
        "/v1/artifacts/{id}": {"id": artifacts[0]["id"]},
        "/v1/models/{ref}": {"ref": model["id"]},
        "/v1/models/{name}": {"name": model["name"]},
        "/v1/tasks/{name}": {"name": "binclass"},
        "/v2/models/{model}/versions": {"model": model["name"], "version": "1"},
        "/v2/models/{model}": {"model": model["name"]},
    }


def operations(document):
    for path, item in document["paths"].items():
        for method, one in item.items():
            yield method.upper(), path, one


def configuration(document, known):
    """Real ids for what only reads, and which refusals depend on more than a value's form."""
    hooks = Path(__file__).with_name("serializers.py")
    lines = [f"hooks = {json.dumps(str(hooks))}", "[generation]", "deterministic = true"]
    for method, path, one in operations(document):
        found = next((ids for start, ids in known.items() if path.startswith(start)), {})
        reading = method in {"GET", "HEAD"} or one["operationId"].startswith("predict")
        by_meaning, missing = semantic(one), MISSING.get(one["operationId"])
        trashable = method == "GET" and re.match(TRASHABLE, path)
        if not ((found and reading) or by_meaning or missing or trashable):
            continue
        lines += ["[[operations]]", f'include-operation-id = "{one["operationId"]}"']
        if found and reading:
            values = ", ".join(f'"path.{name}" = {json.dumps(id_)}' for name, id_ in found.items())
            lines += [f"parameters = {{ {values} }}"]
        if by_meaning:
            accepted = ["2xx", "3xx", 401, 403, 404, 409, 429, "5xx", *by_meaning]
            lines += [f"checks.positive_data_acceptance.expected-statuses = {json.dumps(accepted)}"]
        if trashable:
            lines += ["checks.use_after_free.enabled = false"]
        if missing:
            refused = [400, 401, 403, 404, 405, 406, 409, 415, 422, 429, "5xx", *missing[0]]
            for check in ("negative_data_rejection", "missing_required_header"):
                lines += [f"checks.{check}.expected-statuses = {json.dumps(refused)}"]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def document(daemon):
    return json.loads(daemon.request("GET", "/openapi.json", token=None)[2])


def test_every_exception_is_of_an_operation(document):
    there = {one["operationId"] for *_, one in operations(document)}
    assert set(SEMANTIC) | set(MISSING) <= there


def test_every_route_is_in_a_run(document):
    left = [p for p in document["paths"] if not any(re.search(r, p) for r in SURFACES.values())]
    assert not left, "add these to SURFACES"


@pytest.mark.parametrize("surface", SURFACES)
def test_the_document_is_the_truth(daemon, document, known, tmp_path, surface):
    logged = daemon.log_path.stat().st_size
    config = tmp_path / "schemathesis.toml"
    config.write_text(configuration(document, known))
    token = daemon.call("POST", "/v1/tokens", {"name": f"fuzz-{surface}", "subject": "local",
                        "scopes": ["submit", "read", "predict", "admin"]})["token"]  # fmt: skip
    done = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "--config-file", config, "--no-color",
         "run", f"{daemon.url}/openapi.json",
         "--include-path-regex", SURFACES[surface],
         "--phases", "coverage,fuzzing,stateful", "--checks", "all", "--mode", "all",
         "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--continue-on-failure",
         "--request-timeout", "60", "--warnings", "off",
         "-H", f"Authorization: Bearer {token}",
         "-H", "Accept: application/json"],
        capture_output=True, text=True, cwd=tmp_path, timeout=280,
    )  # fmt: skip
    found = re.search(r"= (ERRORS|FAILURES) =", done.stdout)
    report = done.stdout[found.start() if found else 0 :]
    assert done.returncode == 0, report[-20000:] + done.stderr[-2000:]
    assert daemon.request("GET", "/livez", token=None)[0] == 200
    assert b'"exception"' not in daemon.log_path.read_bytes()[logged:]
