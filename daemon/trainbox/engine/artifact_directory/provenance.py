"""How a model came to be: an in-toto statement with a SLSA provenance predicate.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md and
https://slsa.dev/spec/v1.0/provenance. It is not signed: it says what the daemon knows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from trainbox.engine.artifact_directory.facts import Origin

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "urn:trainbox:build:job:v1"


def provenance(origin: Origin) -> dict[str, Any]:
    """Return the statement about the model's file."""
    job, model = origin.job, origin.model
    return {
        "_type": STATEMENT,
        "subject": [{"name": origin.file, "digest": _digest(model.digest)}],
        "predicateType": PREDICATE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"task": job.task, "params": job.params},
                "internalParameters": {
                    "backend": origin.facts.get("backend") or job.backend,
                    "params_sha256": params_digest(job.params),
                    "resources": vars(job.resources),
                },
                "resolvedDependencies": list(_dependencies(origin)),
            },
            "runDetails": {
                "builder": {
                    "id": f"urn:trainbox:daemon:{origin.instance}",
                    "version": {"trainbox": origin.maker},
                },
                "metadata": {
                    "invocationId": job.id,
                    "startedOn": moment(job.started_at or job.created_at),
                    "finishedOn": moment(model.created_at),
                },
            },
        },
    }


def params_digest(params: Mapping[str, Any]) -> str:
    """Return the sha256 of parameters as compact JSON with sorted keys, as hex."""
    text = json.dumps(params, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def moment(at: datetime) -> str:
    """Return a time as RFC 3339 in UTC, in whole seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _dependencies(origin: Origin) -> Iterator[dict[str, Any]]:
    if origin.dataset is not None:
        yield {
            "name": origin.dataset.name,
            "uri": f"urn:trainbox:dataset:{origin.dataset.id}",
            "digest": _digest(origin.dataset.digest),
        }
    environment = origin.environment
    if environment:
        yield {
            "name": f"environment {environment['name']}",
            "uri": f"urn:trainbox:environment:{environment['name']}",
            "digest": {"sha256": environment["digest"]},
        }
        if environment.get("image"):
            yield {"name": "image", "digest": _digest(str(environment["image"]))}


def _digest(named: str) -> dict[str, str]:
    return {"sha256": named.removeprefix("sha256:")}
