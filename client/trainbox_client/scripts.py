"""Run a script of one's own: its files go up, and a job runs them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from trainbox_client.assets import AssetArea, used
from trainbox_client.jobs import J, JobArea
from trainbox_client.transport import Steps

TASK = "custom_script"
File = str | os.PathLike[str]


def run_script(
    assets: AssetArea,
    jobs: JobArea[J],
    script: File,
    *,
    runtime: str = "python3.11",
    dataset: str | Mapping[str, Any] | None = None,
    dataset_format: str = "parquet",
    requirements: File | Sequence[File] = (),
    weights: File | Sequence[File] = (),
    files: File | Sequence[File] = (),
    environment: Mapping[str, str] | None = None,
    arguments: Sequence[str] = (),
    **job: Any,
) -> Steps[J]:
    """Upload a script with its files and queue it.

    Args:
        assets: where the files go.
        jobs: where the job goes.
        script: the file to run; it finds the others beside it.
        runtime: ``python3.10``, ``python3.11`` or ``python3.12``.
        dataset: id, name or handle of the data at ``DATASET_PATH``; None for none.
        dataset_format: what lies there: ``parquet``, ``csv`` or ``jsonl``.
        requirements: requirements files, installed before it runs.
        weights: files to start from.
        files: any others: modules, configuration.
        environment: variables for it.
        arguments: its ``sys.argv`` after its own name.
        job: ``resources``, ``name``, ``labels`` and the rest of ``jobs.submit``.

    Raises:
        Rejected: the job would fail; ``errors`` says where and how to fix it.
    """
    uses = []
    for kind, file in _kinds(script, requirements, weights, files):
        uses.append(used((yield from assets._upload(file, kind=kind))))
    params = {
        "entry_point": uses[0]["name"],
        "runtime": runtime,
        "assets": uses,
        "environment_vars": dict(environment or {}),
        "arguments": list(arguments),
        "dataset_format": dataset_format,
    }
    return (yield from jobs._submit(TASK, dataset=dataset, params=params, **job))


def _kinds(
    script: File,
    requirements: File | Sequence[File],
    weights: File | Sequence[File],
    files: File | Sequence[File],
) -> Iterator[tuple[str, File]]:
    yield "script", script
    for kind, given in (("requirements", requirements), ("weights", weights), ("other", files)):
        several = (given,) if isinstance(given, (str, os.PathLike)) else given
        yield from ((kind, file) for file in several)
