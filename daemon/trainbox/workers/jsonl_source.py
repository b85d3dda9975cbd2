"""JSON lines into the staging table: one object per line, the union of their keys as columns.

Python's parser reads it, not DuckDB's: it tells a key given twice, keeps the digits of numbers, and
goes on behind a broken line. What it read goes on as CSV of the plainest sort.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypedDict

import duckdb

from trainbox.workers import csv_text, staging, unpack
from trainbox.workers.csv_source import StagedText
from trainbox.workers.ingest_request import IngestRequest
from trainbox.workers.refusal import Faults, Refused, counted
from trainbox.workers.text_rules import (
    BOOLEAN,
    DATE,
    INTEGER,
    NUMBER,
    STAMP,
    Expected,
    Rule,
)

FLAT = "flat.csv"

_KINDS = {bool: "boolean", str: "string"}
_RULES: Mapping[str, tuple[Rule, ...]] = {
    "number": (INTEGER, NUMBER),
    "boolean": (BOOLEAN,),
    "string": (DATE, STAMP),
}


class _Number(str):
    """A number, as its digits stand in the file."""

    __slots__ = ()


class _Place(TypedDict):
    row: int
    line: int


class _Refused(Exception):
    """A line that is JSON, and yet not to be taken."""

    def __init__(self, rule: str, what: str, hint: str, column: str | None = None) -> None:
        super().__init__(what)
        self.fault = (rule, what, hint, column)


@dataclass
class _Flattening:
    """What has been read so far.

    Attributes:
        names: index by key, in the order of first appearance.
        kinds: by key, the row in which each kind of value first stood.
    """

    request: IngestRequest
    expected: Mapping[str, Expected]
    names: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, dict[str, int]] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    rows: int = 0


def stage_jsonl(connection: duckdb.DuckDBPyConnection, request: IngestRequest) -> StagedText:
    """Parse the upload into the table ``raw`` of nullable text.

    Raises:
        Refused: not JSON lines of flat objects; with every fault.
    """
    path = unpack.plain_text(request)
    expected = {name: Expected(wanted) for name, wanted in request.types.items()}
    state = _Flattening(request, expected)
    with Path(FLAT).open("w", encoding="utf-8", newline="") as out:
        # QUOTE_STRINGS came with Python 3.12; a gap is an empty field, and so is an empty text.
        writer = csv.writer(out, lineterminator="\n")
        for line, text in _lines(path, request):
            _flatten(state, line, text, writer)
            if state.faults.full or state.rows > request.max_rows:
                break
    if state.faults.found:
        raise state.faults.refusal()
    if not state.rows:
        raise Refused("the file holds only blank lines", code="empty_file")
    names = tuple(state.names)
    if not names:
        raise Refused("there are rows, but not one key in them", code="no_columns")
    csv_text.check_names(names, request.max_columns)
    path.unlink()
    columns = ", ".join(f"'c{index}': 'VARCHAR'" for index in range(len(names)))
    source = (
        f"read_csv('{FLAT}', auto_detect=false, header=false, delim=',', quote='\"', escape='\"',"
        f" comment='', columns={{{columns}}}, nullstr='', null_padding=true, parallel=false,"
        f" max_line_size={16 * request.max_record_bytes})"
    )
    try:
        rows = staging.stage(connection, len(names), source)
    except (duckdb.Error, MemoryError) as error:
        raise staging.refusal_of(error, request, "the JSON lines cannot be read") from error
    rules = {name: _rules(state.kinds.get(name, {})) for name in names}
    return StagedText(names, rows, rules, lambda _: Faults(), _mixed(state.kinds), gaps=False)


def _lines(path: Path, request: IngestRequest) -> Iterator[tuple[int, bytes]]:
    csv_text.survey(path, "JSON lines")
    most = request.max_record_bytes
    with path.open("rb") as file:
        number = 0
        while text := file.readline(most + 1):
            number += 1
            if len(text) > most and not text.endswith(b"\n"):
                raise Refused(
                    f"line {number} has more than {most:,} bytes",
                    code="record_too_large",
                    hint="JSON lines has one object per line; a JSON array is one long line",
                    line=number,
                )
            text = text.removeprefix(b"\xef\xbb\xbf") if number == 1 else text
            if text.strip():
                yield number, text


def _flatten(state: _Flattening, line: int, text: bytes, writer: Any) -> None:
    """Read one line and write its values; note what is wrong with it."""
    state.rows += 1
    at = _Place(row=state.rows, line=line)
    try:
        found = _parse(text)
    except UnicodeDecodeError as error:
        what = f"not UTF-8: byte 0x{text[error.start]:02x}"
        state.faults.add("bad_utf8", what, "write the file in UTF-8", **at)
    except _Refused as refused:
        rule, what, hint, column = refused.fault
        state.faults.add(rule, what, hint, column=column, **at)
    except json.JSONDecodeError as error:
        what = f"not JSON: {error.msg}, at character {error.colno}"
        value = text[max(error.pos - 20, 0) : error.pos + 40].decode("utf-8", "replace").strip()
        state.faults.add("bad_json", what, "write one JSON object per line", value=value, **at)
    except RecursionError:
        state.faults.add("nested_value", "nested without end", "flatten it", **at)
    else:
        if not state.faults.found:
            writer.writerow(_row(state, found, at))
        else:
            _row(state, found, at)


def _parse(text: bytes) -> dict[str, Any]:
    found = json.loads(
        text.decode(),
        object_pairs_hook=_object,
        parse_int=_Number,
        parse_float=_Number,
        parse_constant=_constant,
    )
    if not isinstance(found, dict):
        kind = "an array" if isinstance(found, list) else "a bare value"
        hint = 'write each row as an object: {"a": 1, "b": "x"}'
        raise _Refused("not_an_object", f"{kind} instead of an object", hint)
    return found


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _Refused("duplicate_key", "a key given twice", "give every key once", twice)
    return found


def _constant(text: str) -> NoReturn:
    raise _Refused("bad_json", f"{text} is not JSON", "write null, or leave the key out")


def _row(state: _Flattening, found: Mapping[str, Any], at: _Place) -> list[str | None]:
    """Return the values in the order of the columns; note those that cannot be taken."""
    for name in found:
        if name not in state.names:
            _refuse_width(state)
            state.names[name] = len(state.names)
    values: list[str | None] = [None] * len(state.names)
    for name, value in found.items():
        if value is None:
            continue
        if isinstance(value, (dict, list)):
            kind = "an object" if isinstance(value, dict) else "an array"
            hint = "flatten it into keys of its own"
            shown = json.dumps(value, default=str)[:80]
            what = f"{kind} where a single value belongs"
            state.faults.add("nested_value", what, hint, column=name, value=shown, **at)
            continue
        values[state.names[name]] = _text(state, name, value, at)
    return values


def _text(state: _Flattening, name: str, value: Any, at: _Place) -> str:
    kind = "number" if isinstance(value, _Number) else _KINDS[type(value)]
    text = str(value).lower() if kind == "boolean" else str(value)
    if problem := _problem(state, name, kind, text):
        rule, what, hint = problem
        state.faults.add(rule, what, hint, column=name, value=text, **at)
    if text:
        state.kinds.setdefault(name, {}).setdefault(kind, at["row"])
    return text


def _problem(state: _Flattening, name: str, kind: str, text: str) -> tuple[str, str, str] | None:
    most = state.request.max_value_bytes
    if "\0" in text:
        return "nul_byte", "a text with a NUL character", "take it away"
    if len(text) > most or (len(text) * 4 > most and len(_bytes(text)) > most):
        size = counted(len(_bytes(text)), "byte")
        return "value_too_large", f"a value of {size}, at most {most:,} are allowed", "shorten it"
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        return "bad_utf8", "half a surrogate pair, which is no character", "write it in UTF-8"
    return _misfit(state.expected.get(name), kind, text)


def _misfit(wanted: Expected | None, kind: str, text: str) -> tuple[str, str, str] | None:
    if wanted is None:
        return Expected("number").problem(text) if kind == "number" else None
    if wanted.type == "string" or not text:
        return None
    if kind == ("string" if wanted.type == "datetime" else wanted.type):
        return wanted.problem(text)
    hint = f"the column was declared {wanted.type}, and JSON tells types apart"
    return f"not_a_{wanted.type}", f"a {kind} instead of a {wanted.type}", hint


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _refuse_width(state: _Flattening) -> None:
    if len(state.names) >= state.request.max_columns:
        raise Refused(
            f"more than {counted(state.request.max_columns, 'different key')}",
            kind="too_large",
            code="too_many_columns",
            row=state.rows,
        )


def _rules(kinds: Mapping[str, int]) -> tuple[Rule, ...]:
    return _RULES[next(iter(kinds))] if len(kinds) == 1 else ()


def _mixed(kinds: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Return a sentence for each key whose values are of several kinds."""
    found = {}
    for name, rows in kinds.items():
        if len(rows) > 1:
            listed = ", ".join(f"a {kind} first in row {row}" for kind, row in rows.items())
            found[name] = (
                f"column {name!r} is text because its values are of several kinds: {listed}"
            )
    return found
