"""Rows to predict, from a file or the command line, with the types of the model's inputs."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainbox.cli.exits import CliError, Exit

Row = dict[str, Any]
BOOLEANS = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}


def read_rows(
    file: Path | None, pairs: Sequence[str], inputs: Sequence[Mapping[str, Any]]
) -> Iterator[Row]:
    """Return rows from a CSV, JSON or JSONL file, or one from ``NAME=VALUE`` pairs.

    Args:
        file: ``-`` reads stdin; the suffix, else the first character, tells the form.
        pairs: cells of one row; columns that are not named are missing.
        inputs: the model's inputs; text cells take their type from there.

    Raises:
        CliError: the file cannot be read, or a cell is not of its column's type.
    """
    types = {column["name"]: column.get("type", "string") for column in inputs}
    if file is None:
        return iter([_from_pairs(pairs, types)])
    text = _read(file)
    suffix = file.suffix.lower()
    if suffix == ".csv" or (
        suffix not in {".json", ".jsonl"} and text.lstrip()[:1] not in {"[", "{"}
    ):
        return _from_csv(text, types)
    return iter(_from_json(text, file))


def typed_row(cells: Mapping[str, str], inputs: Sequence[Mapping[str, Any]]) -> Row:
    """Return one row of text with the types of the model's inputs, and only those."""
    return {
        column["name"]: _cell(column["name"], cells.get(column["name"], ""), column["type"])
        for column in inputs
    }


def _read(file: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        where = [f"{file}: {error.strerror}"]
        raise CliError("The rows cannot be read.", Exit.USAGE, where=where) from None
    except UnicodeDecodeError as error:
        raise CliError(f"{file} is not UTF-8: {error}.", Exit.USAGE) from None


def _from_json(text: str, file: Path) -> list[Row]:
    try:
        document = json.loads(text)
    except ValueError:
        try:
            document = [json.loads(line) for line in text.splitlines() if line.strip()]
        except ValueError as error:
            raise CliError(f"{file} is neither JSON nor JSON Lines: {error}.", Exit.USAGE) from None
    if isinstance(document, dict):
        document = document["rows"] if set(document) == {"rows"} else [document]
    if not isinstance(document, list) or not all(isinstance(row, dict) for row in document):
        raise CliError(f"{file} is not a list of JSON objects.", Exit.USAGE)
    return document


def _from_csv(text: str, types: Mapping[str, str]) -> Iterator[Row]:
    for row in csv.DictReader(io.StringIO(text, newline="")):
        cells = {name: value for name, value in row.items() if name is not None}
        yield {
            name: _cell(name, value or "", types.get(name, "string"))
            for name, value in cells.items()
        }


def _from_pairs(pairs: Sequence[str], types: Mapping[str, str]) -> Row:
    row: Row = dict.fromkeys(types)
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise CliError(f"--row takes NAME=VALUE, not {pair!r}.", Exit.USAGE)
        row[name] = _cell(name, value, types.get(name, "string"))
    return row


def _cell(name: str, text: str, type_: str) -> Any:
    if not text:
        return None
    if type_ == "number":
        try:
            return float(text)
        except ValueError:
            raise CliError(f"{name}: {text!r} is not a number.", Exit.REJECTED) from None
    if type_ == "boolean":
        if text.lower() not in BOOLEANS:
            raise CliError(f"{name}: {text!r} is not true or false.", Exit.REJECTED)
        return BOOLEANS[text.lower()]
    return text
