"""How to submit a job again: one request, as curl, as a command line, as Python. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from trainbox_sdk.job_reports import Reproduction
from trainbox_sdk.jobs import JobView


def reproduce(job: JobView, url: str, **changes: Any) -> Reproduction:
    """Return a job's request in every form.

    Args:
        job: parameters with the defaults they had, resources and backend as they were.
        url: the daemon's.
        changes: fields of ``resources`` that are to be different.
    """
    body = request_of(job, changes)
    return Reproduction(body, curl(url, "POST", "/v1/jobs", body), cli(body), python(url, body))


def request_of(job: JobView, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return the body of ``POST /v1/jobs`` that asks for the same."""
    body: dict[str, Any] = {
        "task": job.task,
        "dataset_id": job.dataset_id,
        "params": _plain(job.params),
        "resources": {**asdict(job.resources), **(changes or {})},
        "priority": job.priority,
        "name": job.name,
        "labels": dict(job.labels),
        "backend": job.backend,
    }
    return {name: value for name, value in body.items() if value not in (None, "", {}, 0)}


def curl(url: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> str:
    """Return a curl command; the shell puts the token in, so it is in no history."""
    words = [f"curl -sS -X {method} {shlex.quote(url + path)}"]
    words.append('-H "Authorization: Bearer $TRAINBOX_TOKEN"')
    if body is not None:
        words.append("-H 'Content-Type: application/json'")
        words.append(f"--data-raw {shlex.quote(_json(body))}")
    return " \\\n  ".join(words)


def cli(body: Mapping[str, Any]) -> str:
    """Return a ``trainbox jobs submit`` command."""
    words = ["trainbox jobs submit", shlex.quote(body["task"])]
    if "dataset_id" in body:
        words.append(f"--dataset {shlex.quote(body['dataset_id'])}")
    words += [
        f"-p {shlex.quote(f'{name}={_json(value)}')}"
        for name, value in body.get("params", {}).items()
    ]
    words += [
        f"--label {shlex.quote(f'{key}={value}')}" for key, value in body.get("labels", {}).items()
    ]
    words += [f"--{name} {shlex.quote(str(value))}" for name, value in _options(body).items()]
    return " ".join(words)


def python(url: str, body: Mapping[str, Any]) -> str:
    """Return a script for the Python client."""
    named = {"dataset_id": "dataset"}
    arguments = [f"    {named.get(name, name)}={value!r},\n" for name, value in body.items()]
    return (
        "from trainbox_client import Client\n\n"
        f"job = Client({url!r}).jobs.submit(\n{''.join(arguments)})\nprint(job.id)\n"
    )


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    resources = body.get("resources", {})
    given = {
        "name": body.get("name"),
        "priority": body.get("priority"),
        "backend": body.get("backend"),
        "cpus": resources.get("cpus"),
        "memory": resources.get("memory_bytes"),
        "gpus": resources.get("gpus"),
        "timeout": resources.get("timeout_s"),
    }
    return {name: value for name, value in given.items() if value is not None}


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=dict))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
