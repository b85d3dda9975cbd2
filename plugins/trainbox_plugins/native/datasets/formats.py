"""What data is, by its media type or by the name of its file."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import get_args

from trainbox_plugins.native.datasets.wire import Format
from trainbox_sdk.errors import FieldError, ValidationFailed

FORMATS: tuple[Format, ...] = get_args(Format)
MEDIA_TYPES: dict[str, Format] = {
    "text/csv": "csv",
    "application/csv": "csv",
    "application/x-ndjson": "jsonl",
    "application/jsonl": "jsonl",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/vnd.apache.arrow.file": "arrow",
    "application/vnd.apache.arrow.stream": "arrow",
}
SUFFIXES: dict[str, Format] = {
    "csv": "csv",
    "tsv": "csv",
    "jsonl": "jsonl",
    "ndjson": "jsonl",
    "parquet": "parquet",
    "arrow": "arrow",
    "arrows": "arrow",
    "feather": "arrow",
}
PACKED = (".gz", ".zst")
"""Suffixes of compressed text, whose own suffix stands before."""


def format_of(filename: str) -> Format | None:
    """Return what a file's name says, None where it says nothing."""
    name = PurePosixPath(filename.lower())
    if name.suffix in PACKED:
        name = name.with_suffix("")
    return SUFFIXES.get(name.suffix.removeprefix("."))


def unknown_format(loc: tuple[str, ...], where: str) -> ValidationFailed:
    """Return the refusal of data that nothing says the format of."""
    hint = f"Add 'format' ({', '.join(FORMATS)}), or a file name that ends so."
    problem = FieldError(loc, "does not say what the data is", hint)
    return ValidationFailed(f"{where} does not say what the data is.", errors=[problem], hint=hint)
