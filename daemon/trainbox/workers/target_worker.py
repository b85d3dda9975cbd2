"""The process that looks for leakage: ``python -m trainbox.workers.target_worker``, confined.

Reads the request from standard input, and answers with one JSON document on standard output.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from trainbox.workers.ingest_worker import HEADROOM, OPEN_FILES
from trainbox.workers.lockdown import lock_down
from trainbox.workers.refusal import Refused
from trainbox.workers.target_request import TargetRequest

SCRATCH_BYTES = 4 * 1024**3


def main() -> int:
    """Confine this process, look, answer."""
    request = TargetRequest.from_json(sys.stdin.buffer.read())
    here = Path.cwd()
    report = lock_down(
        read=(Path(request.path),),
        write=(here,),
        data_bytes=HEADROOM * request.memory_bytes,
        file_bytes=SCRATCH_BYTES,
        open_files=OPEN_FILES,
        cpu_s=request.cpu_s,
    )
    os.chdir(here)
    try:
        answer = look(request)
    except Refused as refused:
        answer = {"refused": refused.report()}
    answer["confinement"] = {"applied": report.applied, "missing": report.missing}
    sys.stdout.write(json.dumps(answer, allow_nan=False))
    return 0


def look(request: TargetRequest) -> dict[str, Any]:
    """Return the fields of the SDK's ``TargetProfile``, JSON-able.

    Raises:
        Refused: there is no such column.
    """
    # Imported only now: DuckDB starts threads, and a process with threads cannot be confined.
    from trainbox.workers import leakage, staging

    connection = staging.open_engine(
        memory_bytes=request.memory_bytes, threads=request.threads, paths=[request.path]
    )
    staging.lock(connection)
    return leakage.look(connection, request.path, request.target)


if __name__ == "__main__":
    sys.exit(main())
