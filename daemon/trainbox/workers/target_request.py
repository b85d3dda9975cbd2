"""What the daemon asks of a target worker."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class TargetRequest:
    """One column of a stored dataset to look at.

    Attributes:
        path: of the Parquet file, which the worker may read and not write.
        memory_bytes: what the process may hold.
        cpu_s: processor seconds after which the kernel ends it.
        threads: of DuckDB.
    """

    path: str
    target: str
    memory_bytes: int
    cpu_s: int
    threads: int

    def to_json(self) -> bytes:
        """Return the document the worker reads from its standard input."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_json(cls, text: bytes) -> TargetRequest:
        """Read what :meth:`to_json` wrote."""
        return cls(**json.loads(text))
