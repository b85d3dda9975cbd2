"""What the daemon says of a thing, with the words as attributes: ``dataset.rows``."""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar
from urllib.parse import quote

from trainbox_client.errors import TrainboxError


def quoted(part: str) -> str:
    """Return one segment of a path, whatever is in it.

    Raises:
        TrainboxError: empty or dots alone, which would lead to another path.
    """
    if part in {"", ".", ".."}:
        raise TrainboxError(f"{part!r} is no id and no name")
    return quote(part, safe="")


class Document(Mapping[str, Any]):
    """A read-only JSON object; every member is an attribute, too.

    In a notebook it shows itself as a table.
    """

    shown: ClassVar[tuple[str, ...]] = ("id", "name")

    def __init__(self, data: Mapping[str, Any]) -> None:
        self._data = dict(data)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in self._data:
            raise AttributeError(f"{type(self).__name__} has no {name!r}")
        return self._data[name]

    def __getitem__(self, name: str) -> Any:
        return self._data[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self._data]

    def __repr__(self) -> str:
        said = ", ".join(f"{name}={self._data.get(name)!r}" for name in self.shown)
        return f"{type(self).__name__}({said})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(_text(value))}</td></tr>"
            for name, value in self._summary().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"

    def _summary(self) -> Mapping[str, Any]:
        return {name: self._data[name] for name in self.shown if name in self._data}


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, (Mapping, list)):
        return json.dumps(value, default=str, ensure_ascii=False)[:500]
    return "" if value is None else str(value)


class Dataset(Document):
    """A dataset."""

    shown = ("id", "name", "version", "rows", "bytes", "digest", "warnings")


class Page(list[Any]):
    """One page of a listing; ``next`` is the cursor of the page after it, None on the last."""

    next: str | None = None
