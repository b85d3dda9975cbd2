"""What the daemon asks of an ingest worker."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

ColumnType = Literal["number", "boolean", "string", "datetime"]
Format = Literal["csv", "jsonl", "parquet", "arrow"]
FORMATS: tuple[Format, ...] = get_args(Format)
TEXT_FORMATS: frozenset[Format] = frozenset({"csv", "jsonl"})
"""Those that may come compressed."""

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
        max_unpacked_bytes: of a compressed text, once expanded.
        threads: of DuckDB.
        types: by column, what its values must be.
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
    max_unpacked_bytes: int = 16 * 1024**3
    types: Mapping[str, ColumnType] = field(default_factory=dict)

    def to_json(self) -> bytes:
        """Return the document the worker reads from its standard input."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> IngestRequest:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))
