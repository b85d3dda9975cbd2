"""schemathesis over the dialect in a running daemon: what the document says is what happens."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from trainbox_sdk.testing.daemon import DaemonProcess

from . import tokens
from .plugins_file import plugins_file

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("custom-training-fuzz")]

EXAMPLES = int(os.environ.get("TRAINBOX_FUZZ_EXAMPLES", "2"))
SEED = int(os.environ.get("TRAINBOX_FUZZ_SEED", "3"))
CURSOR = "a cursor is good for the listing that gave it"
SEMANTIC = {
    "customCreateModel": (404, 422),  # the dataset must be there
    "customUpdateModel": (422,),
    "customUploadAsset": (400, 422),  # the bytes must be a form
    "customUploadDataset": (400, 422),
    "customLinkDataset": (404, 422),
    "customTrain": (422,),  # files, data and host are checked against one another
    "customTrainAuto": (422,),
    "customTest": (422,),
    "customDownload": (404, 422),
    "customAuditLogs": (422,),  # "to" lies behind "from"
    "customListModels": (422,),  # see CURSOR
    "customListDatasets": (422,),
    "customListRuns": (422,),
    "customListVersions": (422,),
    "customFile": (403,),
}
"""Refusals that no schema can foresee: of well-formed values that mean nothing here."""


@pytest.fixture(scope="module")
def daemon(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    env = {"TRAINBOX_BACKEND": "process", "TRAINBOX_RATE_LIMIT_AUTH_FAILURES": "",
           "TRAINBOX_RATE_LIMIT_CHANGES": "", "TRAINBOX_RATE_LIMIT_READS": ""}  # fmt: skip
    with DaemonProcess(folder / "state", plugins_file=plugins_file(folder), env=env) as running:
        yield running


@pytest.fixture(scope="module")
def token():
    return tokens.token(exp=int(time.time()) + 3600)


@pytest.fixture(scope="module")
def model(daemon, token):
    body = {"name": "known", "model_type": "custom", "task_type": "classification"}
    headers = {"Content-Type": "application/json"}
    raw = json.dumps(body).encode()
    answer = daemon.request("POST", "/api/v1/models", raw, headers=headers, token=token)
    return json.loads(answer[2])["model_id"]


def configuration(document, model) -> str:
    lines = ["[generation]", "deterministic = true"]
    for path, item in document["paths"].items():
        for method, one in item.items():
            if not path.startswith("/api/v1"):
                continue
            known = method in {"get", "head"} and "{model_id}" in path
            more = SEMANTIC.get(one["operationId"])
            if not (known or more):
                continue
            lines += ["[[operations]]", f'include-operation-id = "{one["operationId"]}"']
            if known:
                lines += [f'parameters = {{ "path.model_id" = "{model}" }}']
            if more:
                accepted = ["2xx", "3xx", 401, 403, 404, 409, 429, "5xx", *more]
                lines += [
                    f"checks.positive_data_acceptance.expected-statuses = {json.dumps(accepted)}"
                ]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def document(daemon):
    return json.loads(daemon.request("GET", "/openapi.json", token=None)[2])


def test_every_exception_is_of_an_operation(document):
    there = {one["operationId"] for item in document["paths"].values() for one in item.values()}
    assert set(SEMANTIC) <= there


PARTS = {
    "models": r"^/api/v1/models(/\{model_id\}(/(archive|unarchive|custom.*|dataset))?)?$",
    # The other way to metrics and logs, below training/, has the same handlers.
    "runs": r"^/api/v1/(models/\{model_id\}/(train|runs|training-.*)|datasets.*)$",
    "versions": r"^/api/v1/models/\{model_id\}/(versions|download|files|test|audit|activity).*$",
}


@pytest.mark.parametrize("part", PARTS)
def test_the_document_is_the_truth(daemon, document, model, token, tmp_path, part):
    config = tmp_path / "schemathesis.toml"
    config.write_text(configuration(document, model))
    logged = daemon.log_path.stat().st_size
    done = subprocess.run(
        [Path(sys.executable).with_name("schemathesis"), "--config-file", config, "--no-color",
         "run", f"{daemon.url}/openapi.json",
         "--include-path-regex", PARTS[part],
         "--phases", "coverage,fuzzing", "--checks", "all", "--mode", "all",
         "--max-examples", str(EXAMPLES), "--seed", str(SEED), "--continue-on-failure",
         "--request-timeout", "60", "--warnings", "off",
         "-H", f"Authorization: Bearer {token}", "-H", "Accept: application/json"],
        capture_output=True, text=True, cwd=tmp_path, timeout=280,
    )  # fmt: skip
    found = re.search(r"= (ERRORS|FAILURES) =", done.stdout)
    report = done.stdout[found.start() if found else 0 :]
    assert done.returncode == 0, report[-20000:] + done.stderr[-2000:]
    assert b'"exception"' not in daemon.log_path.read_bytes()[logged:]
