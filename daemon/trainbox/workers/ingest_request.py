"""What the daemon asks of an ingest worker."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Literal

Format = Literal["csv", "parquet"]

UPLOAD = "upload"
"""Name of the uploaded file in the worker's folder."""
RESULT = "data.parquet"
"""Name of the file the worker leaves there."""


@dataclass(frozen=True)
class IngestRequest:
    """One upload to read, in the worker's current folder.

    Attributes:
        memory_bytes: what the process may hold.
        cpu_s: processor seconds after which the kernel ends it.
        scratch_bytes: largest file it may write.
        threads: of DuckDB.
    """

    format: Format
    max_rows: int
    max_columns: int
    max_value_bytes: int
    max_record_bytes: int
    memory_bytes: int
    cpu_s: int
    scratch_bytes: int
    threads: int

    def to_json(self) -> bytes:
        """Return the document the worker reads from its standard input."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> IngestRequest:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))
