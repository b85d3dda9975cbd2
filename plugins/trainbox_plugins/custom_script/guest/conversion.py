"""Writes the dataset in the format a script asked for, batch by batch."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROWS = 16_384
"""Of a batch: a few megabytes of memory, whatever the dataset's size."""


def convert(parquet: Path, target: Path, wanted: str) -> Path:
    """Write a Parquet file as ``csv`` (RFC 4180, with a header) or ``jsonl``; returns the path.

    An empty text and a missing value stay two things: ``""`` and nothing in CSV, ``""`` and null in
    JSON. Times are ISO 8601. The file is read-only (mode 0444), as the dataset itself is; what an
    earlier attempt left is replaced.
    """
    from pyarrow import parquet as reader

    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    with reader.ParquetFile(parquet) as source:
        batches = source.iter_batches(batch_size=ROWS)
        if wanted == "csv":
            _csv(batches, source.schema_arrow, part)
        else:
            _jsonl(batches, part)
    part.chmod(0o444)
    part.replace(target)
    return target


def _csv(batches: Iterator[Any], schema: Any, target: Path) -> None:
    from pyarrow import csv

    with csv.CSVWriter(str(target), schema) as writer:
        for batch in batches:
            writer.write_batch(batch)


def _jsonl(batches: Iterator[Any], target: Path) -> None:
    with target.open("w", encoding="utf-8") as file:
        for batch in batches:
            for row in batch.to_pylist():
                file.write(json.dumps(row, default=_text, ensure_ascii=False) + "\n")


def _text(value: Any) -> str:
    """Return what JSON has no word for: times in ISO 8601, anything else as it prints itself."""
    written = getattr(value, "isoformat", None)
    return str(written()) if written is not None else str(value)
