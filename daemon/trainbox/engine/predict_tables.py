"""Tables to predict and predictions as tables: files of others are opened in a confined worker."""

from __future__ import annotations

import asyncio
import json
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainbox.engine.predict_values import Input
from trainbox.workers import launch
from trainbox.workers.predict_wire import TABLE
from trainbox_sdk.errors import Unavailable, ValidationFailed

_WORKER = "trainbox.workers.table_worker"
MIB = 1024**2
MEMORY_BYTES = 1024 * MIB
ANSWER_BYTES = 256 * MIB
TIMEOUT_S = 60.0
AT_ONCE = 2
"""Workers at one time; further callers wait."""


class TableWorkers:
    """Starts one worker per table; it costs about a quarter of a second.

    Args:
        folder: where each worker gets a folder of its own for as long as it runs.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def read(
        self, format_: str, data: bytes, inputs: Sequence[Input], max_rows: int
    ) -> list[dict[str, Any]]:
        """Return a table's rows as JSON values.

        Raises:
            ValidationFailed: it cannot be read, and why; or it has no rows.
            Unavailable: the worker died or took too long.
        """
        request = {
            "do": "read",
            "format": format_,
            "types": {each.name: each.type for each in inputs},
            "max_rows": max_rows,
        }
        answer = json.loads(await self._run(request, data))
        if "refused" in answer:
            said = answer["refused"]
            raise ValidationFailed(
                f"the {format_} table: {said['message']}", code="bad_table", hint=said["hint"]
            )
        columns: Mapping[str, list[Any]] = answer["columns"]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    async def write(self, format_: str, columns: Mapping[str, Sequence[Any]]) -> bytes:
        """Return columns of JSON values as ``arrow`` or ``parquet``.

        Raises:
            Unavailable: the worker died or took too long.
        """
        return await self._run({"do": "write", "format": format_, "columns": columns}, None)

    async def _run(self, request: Mapping[str, Any], data: bytes | None) -> bytes:
        body = json.dumps({**request, "memory_bytes": MEMORY_BYTES}).encode()
        async with self._slots:
            folder = tempfile.TemporaryDirectory(dir=self._folder, prefix="table-")
            with folder as name:
                if data is not None:
                    await asyncio.to_thread((Path(name) / TABLE).write_bytes, data)
                return await _answer(Path(name), body)


async def _answer(folder: Path, request: bytes) -> bytes:
    process = await launch.start(_WORKER, cwd=folder, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    errors = asyncio.create_task(launch.tail(process.stderr))
    code: int | None = None
    try:
        async with asyncio.timeout(TIMEOUT_S):
            process.stdin.write(request)
            process.stdin.close()
            answer = await launch.read_at_most(process.stdout, ANSWER_BYTES)
            if answer is not None:
                code = await process.wait()
    except TimeoutError:
        raise Unavailable(
            f"reading the table took longer than {TIMEOUT_S:g} s", code="predict_timeout"
        ) from None
    finally:
        ended = await launch.end(process)
        said = await errors
    if not answer or code != 0:
        why = said.strip().rpartition("\n")[2] or launch.death(ended)
        raise Unavailable(f"the table's worker failed: {why[:300]}", code="predict_worker_failed")
    return answer
