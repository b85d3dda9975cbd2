"""Reads single columns of a Parquet file in the types the graph speaks.

One column at a time: a string column passes through Python objects, and only one of them at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np
import pandas as pd

from trainbox_plugins.onnx_kit.calendar_features import MISSING
from trainbox_plugins.tabular.guest.frame import Coded

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from trainbox_plugins.onnx_kit.columns import Kind

_INTEGERS = frozenset(
    {
        f"{sign}{size}INT{suffix}"
        for sign in ("", "U")
        for size, suffix in (("TINY", ""), ("SMALL", ""), ("", "EGER"), ("BIG", ""), ("HUGE", ""))
    }
)
_FLOATS = frozenset({"FLOAT", "DOUBLE", '"NULL"'})
_TEXTS = frozenset({"VARCHAR", "UUID", "TIME"})
_OFFLINE = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
_LARGEST = np.finfo(np.float32).max


class ParquetFile:
    """One file with typed columns.

    Args:
        path: the file.
        threads: threads for decoding.
        memory_bytes: limit for decoding, 0 for DuckDB's own.
    """

    def __init__(self, path: Path, *, threads: int, memory_bytes: int) -> None:
        self._connection = duckdb.connect(config={"threads": threads, **_OFFLINE})
        if memory_bytes:
            limit = max(memory_bytes // 4, 256 * 1024**2)
            self._connection.execute(f"SET memory_limit = '{limit // 1024**2}MiB'")
        self._path = str(path)
        rows = self._connection.execute(
            "DESCRIBE SELECT * FROM read_parquet($path)", {"path": self._path}
        ).fetchall()
        self.types: dict[str, str] = {str(row[0]): str(row[1]) for row in rows}

    def kind(self, name: str) -> Kind | None:
        """Return how a column enters a model, None for types that cannot (lists, blobs)."""
        kind = self.types[name]
        if kind in _INTEGERS or kind in _FLOATS or kind.startswith("DECIMAL"):
            return "number"
        if kind == "BOOLEAN":
            return "boolean"
        if kind in _TEXTS or kind.startswith("ENUM"):
            return "string"
        return "datetime" if kind == "DATE" or kind.startswith("TIMESTAMP") else None

    def is_integer(self, name: str) -> bool:
        """Return whether a column holds whole numbers by type."""
        return self.types[name] in _INTEGERS

    def row_count(self) -> int:
        """Return how many rows the file has."""
        query = "SELECT count(*) FROM read_parquet($path)"
        row = self._connection.execute(query, {"path": self._path}).fetchone()
        return int(row[0])

    def doubles(self, name: str) -> NDArray[np.float64]:
        """Return a number or boolean column, NaN where missing."""
        values = self._fetch(f"CAST({_quoted(name)} AS DOUBLE)")
        return np.ma.filled(values.astype(np.float64), np.nan)

    def floats(self, name: str) -> NDArray[np.float32]:
        """Return a number or boolean column as the graph takes it.

        Values beyond float32's range become its largest: infinity has no place among borders.
        """
        clipped = np.clip(self.doubles(name), -_LARGEST, _LARGEST)
        return clipped.astype(np.float32)

    def integers(self, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return a whole-number column and where it is missing or beyond 64 bits."""
        return self._with_mask(f"TRY_CAST({_quoted(name)} AS BIGINT)")

    def seconds(self, name: str) -> NDArray[np.int64]:
        """Return a datetime column as epoch seconds, rounded down; infinite dates are missing."""
        column = _quoted(name)
        if self.types[name] != "TIMESTAMP WITH TIME ZONE":
            column = f"TRY_CAST({column} AS TIMESTAMP)"
        micros, missing = self._with_mask(f"epoch_us({column})")
        return np.where(missing, MISSING, micros // 1_000_000)

    def texts(self, name: str) -> Coded:
        """Return a string column."""
        values = np.ma.filled(self._fetch(f"CAST({_quoted(name)} AS VARCHAR)"), "")
        codes, texts = pd.factorize(values.astype(object, copy=False), sort=False)
        return Coded(codes.astype(np.int32), np.asarray(texts, dtype=object))

    def differs(self, name: str, rows: NDArray[np.int64]) -> bool:
        """Return whether a column's values, in all their digits, differ among some rows."""
        hashes = self._fetch(f"hash({_quoted(name)})")[rows]
        return bool((hashes != hashes[0]).any())

    def _with_mask(self, expression: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        values = self._fetch(expression)
        return np.ma.filled(values.astype(np.int64), 0), np.ma.getmaskarray(values)

    def _fetch(self, expression: str) -> Any:
        query = f"SELECT {expression} AS v FROM read_parquet($path)"  # noqa: S608 - names are quoted
        relation = self._connection.execute(query, {"path": self._path})
        return np.ma.asarray(relation.fetchnumpy()["v"])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
