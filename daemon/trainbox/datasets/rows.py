"""A dataset's rows, for people: the first ones as values, or all as CSV, from a confined worker."""

from __future__ import annotations

import asyncio
import json
import logging
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from trainbox.workers import launch
from trainbox_sdk.errors import Unavailable
from trainbox_sdk.uploads import Preview

log = logging.getLogger(__name__)

_WORKER = "trainbox.workers.rows_worker"
PREVIEW_S = 60.0
PREVIEW_BYTES = 64 * 1024**2
MEMORY_BYTES = 1024**3
CPU_S = 3600
BLOCK = 256 * 1024
AT_ONCE = 4
"""Workers that read for somebody at one time; further callers wait."""


class RowReader:
    """Reads stored Parquet files; each call starts one worker."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def preview(self, path: Path, rows: int) -> Preview:
        """Return the first rows of a file.

        Raises:
            Unavailable: the worker failed or took too long.
        """
        try:
            async with asyncio.timeout(PREVIEW_S), self._worker(path, "json", rows) as process:
                assert process.stdout is not None
                answer = await launch.read_at_most(process.stdout, PREVIEW_BYTES)
                await process.wait()
        except TimeoutError as error:
            raise Unavailable("reading the rows took too long", code="rows_failed") from error
        if answer is None:
            raise Unavailable(
                f"these rows are over {PREVIEW_BYTES:,} bytes",
                code="rows_failed",
                hint="ask for fewer rows, or for the content",
            )
        said = json.loads(answer)
        return Preview(tuple(said["columns"]), tuple(map(tuple, said["rows"])))

    async def csv(self, path: Path) -> AsyncIterator[bytes]:
        """Iterate a file as CSV in UTF-8 (RFC 4180), cells that look like formulas quoted.

        Raises:
            Unavailable: the worker failed; what came before is cut off.
        """
        async with self._worker(path, "csv", None) as process:
            assert process.stdout is not None
            while block := await process.stdout.read(BLOCK):
                yield block
            await process.wait()

    @asynccontextmanager
    async def _worker(self, path: Path, form: str, rows: int | None) -> AsyncIterator[Process]:
        request = {
            "path": str(path),
            "form": form,
            "rows": rows,
            "memory_bytes": MEMORY_BYTES,
            "cpu_s": CPU_S,
        }
        async with self._slots:
            process = await launch.start(_WORKER, cwd=Path("/"), stdin=PIPE, stdout=PIPE)
            assert process.stderr is not None
            errors = asyncio.create_task(launch.tail(process.stderr))
            try:
                await _ask(process, request)
                yield process
                if process.returncode:
                    raise _failed(process.returncode, await errors)
            finally:
                await asyncio.shield(launch.end(process))
                await asyncio.shield(asyncio.gather(errors, return_exceptions=True))


async def _ask(process: Process, request: dict[str, Any]) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode())
    await process.stdin.drain()
    process.stdin.close()


def _failed(code: int, errors: str) -> Unavailable:
    log.warning("rows worker ended with %s: %s", launch.death(code), errors)
    return Unavailable(
        f"the rows could not be read ({launch.death(code)})",
        code="rows_failed",
        hint="the daemon's log has the details",
    )
