"""Every limit of an upload."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class IngestLimits:
    """What one upload may cost; nothing here is ever unlimited.

    Attributes:
        upload_bytes: the request body.
        unpacked_bytes: a compressed text, once expanded.
        rows: rows of data.
        columns: columns.
        value_bytes: one text value, in UTF-8.
        record_bytes: one CSV record.
        result_bytes: the typed Parquet file.
        scratch_bytes: largest file the worker may write while it works.
        memory_bytes: memory of the worker.
        cpu_s: processor seconds of the worker.
        wall_s: seconds the worker may take.
        threads: of the worker's engine.
        workers: uploads being read at one time; further ones wait.
    """

    upload_bytes: int = 4 * 1024**3
    unpacked_bytes: int = 16 * 1024**3
    rows: int = 50_000_000
    columns: int = 4096
    value_bytes: int = 1024**2
    record_bytes: int = 4 * 1024**2
    result_bytes: int = 8 * 1024**3
    scratch_bytes: int = 32 * 1024**3
    memory_bytes: int = 2 * 1024**3
    cpu_s: int = 3600
    wall_s: float = 1800.0
    threads: int = 2
    workers: int = 2

    def __post_init__(self) -> None:
        for name in self.__dataclass_fields__:
            if not getattr(self, name) > 0:
                raise ValueError(f"limit {name} must be positive, not {getattr(self, name)!r}")
