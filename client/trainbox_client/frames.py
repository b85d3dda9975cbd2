"""Frames in and out, through narwhals: pandas, polars, pyarrow and whatever else it speaks."""

from __future__ import annotations

import datetime as dt
import decimal
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

import narwhals as nw

from trainbox_client.errors import TrainboxError


def is_frame(data: object) -> bool:
    """Return whether narwhals knows this as an eager data frame."""
    return isinstance(nw.from_native(data, pass_through=True, eager_only=True), nw.DataFrame)


def to_parquet(frame: Any) -> bytes:
    """Return a data frame as Parquet, written by its own library.

    Raises:
        TrainboxError: that library cannot write Parquet here, as pandas without pyarrow.
    """
    buffer = io.BytesIO()
    try:
        nw.from_native(frame, eager_only=True).write_parquet(buffer)
    except ImportError as error:
        raise TrainboxError(
            f"this frame's library cannot write Parquet: {error}. Install pyarrow, or pass "
            "frame.to_csv(index=False).encode() with format='csv'"
        ) from error
    return buffer.getvalue()


def to_rows(frame: Any) -> list[dict[str, Any]]:
    """Return a data frame as one dictionary a row, of JSON scalars; NaN and NaT become None."""
    rows = nw.from_native(frame, eager_only=True).iter_rows(named=True)
    return [{name: scalar(value) for name, value in row.items()} for row in rows]


def scalar(value: Any) -> Any:
    """Return a cell as a JSON scalar; what is missing becomes None.

    Raises:
        TrainboxError: it is infinite, which JSON cannot say; a gap would be another value.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    gap = type(value).__name__ in {"NAType", "NaTType"}  # pandas' own; the first has no truth
    if gap or value != value:  # noqa: PLR0124 - NaN is what is not itself
        return None
    if isinstance(value, (dt.datetime, dt.date)):
        return value.isoformat()
    if hasattr(value, "item"):  # a NumPy scalar
        return scalar(value.item())
    if isinstance(value, (float, decimal.Decimal)):
        number = float(value)
        if math.isinf(number):
            raise TrainboxError("a cell is infinite: send a number, or None for a missing value")
        return number
    return str(value)


def like(frame: Any, rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows as a frame of the same library as ``frame``; nested values get a column each.

    ``{"prediction": "yes", "probabilities": {"yes": 0.8, "no": 0.2}}`` becomes the columns
    ``prediction``, ``probability_yes`` and ``probability_no``.
    """
    namespace = nw.get_native_namespace(frame)
    flat = [flatten(row) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    columns = {name: [row.get(name) for row in flat] for name in names}
    return nw.from_dict(columns, backend=namespace).to_native()


def flatten(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with mappings within it spread over columns."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            prefix = "probability" if name == "probabilities" else name
            flat |= {f"{prefix}_{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat
