"""Seeded tables with every kind of column, gaps and odd values."""

from __future__ import annotations

from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

WORDS = ["red", "blue ", " green", "größer", "日本", "a,b", 'say "hi"', "O'Brien", " ", "x\ty"]


def mixed(rows: int = 400, *, seed: int = 0) -> pd.DataFrame:
    """Numbers, whole numbers, truths, categories, dates and times, all with gaps."""
    random = np.random.default_rng(seed)
    start = np.datetime64("1950-01-01T00:00:00")
    frame = pd.DataFrame(
        {
            "amount": random.normal(100, 40, rows).round(2),
            "count": pd.array(random.integers(0, 2**31, rows), dtype="Int64"),
            "member": pd.array(random.random(rows) < 0.4, dtype="boolean"),
            "colour": np.asarray(WORDS, object)[random.integers(0, len(WORDS), rows)],
            "city": np.asarray([f"city {i}" for i in random.zipf(1.5, rows) % 60], object),
            "day": start + random.integers(0, 40_000, rows).astype("timedelta64[D]"),
            "moment": start + random.integers(0, 3_000_000_000, rows).astype("timedelta64[s]"),
        }
    )
    signal = (
        frame["amount"].to_numpy() / 40
        + (frame["colour"] == "red") * 1.5
        + (frame["city"].str.len() % 3) * (frame["member"].to_numpy(bool)) * 0.7
        + (pd.DatetimeIndex(frame["day"]).month.to_numpy() > 6) * 0.8
        + random.normal(0, 0.3, rows)
    )
    for name in frame.columns:
        gaps = random.random(rows) < 0.08
        frame[name] = frame[name].mask(pd.Series(gaps))
    frame["y"] = signal
    return frame


def write_parquet(frame: pd.DataFrame, path: Path, **casts: str) -> Path:
    """Write a frame as DuckDB does; ``casts`` gives columns other SQL types."""
    connection = duckdb.connect()
    connection.register("frame", frame)
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in frame.columns}
    columns = ", ".join(
        f"CAST({q} AS {casts[name]}) AS {q}" if name in casts else q for name, q in quoted.items()
    )
    target = str(path).replace("'", "''")
    connection.execute(f"COPY (SELECT {columns} FROM frame) TO '{target}' (FORMAT parquet)")
    return path
