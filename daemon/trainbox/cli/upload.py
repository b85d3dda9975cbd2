"""Data on its way to the daemon: small files at once, large ones in pieces that survive a break."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.session import Session
from trainbox.cli.transfer_bar import CHUNK, Bar, bar

WHOLE_BYTES = 16 * 1024**2
"""Up to this size a file is sent in one request."""


@dataclass(frozen=True)
class Upload:
    """What is sent, and what is said of it.

    Attributes:
        file: ``-`` is stdin.
        name: of the dataset; the file's own without its suffixes where it is empty.
        format: ``csv``, ``jsonl``, ``parquet`` or ``arrow``; by the suffix where it is empty.
        description: for people.
        types: of columns, where the daemon's guess is not to be used.
        labels: for filters.
    """

    file: Path
    name: str = ""
    format: str = ""
    description: str = ""
    types: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def stdin(self) -> bool:
        """Whether the data comes through a pipe."""
        return str(self.file) == "-"

    def said(self) -> dict[str, str]:
        """Return name, format and the rest as the daemon takes them in a query or in tus.

        Raises:
            CliError: nothing says what the data is.
        """
        known, stem = split_name(self.file)
        format_ = self.format or known
        if not format_:
            raise CliError(
                f"Nothing says what {self.file} is: its name does not end in a format's suffix.",
                Exit.USAGE,
                next_step="Add --format csv, jsonl, parquet or arrow.",
            )
        words = {
            "name": self.name or ("stdin" if self.stdin else stem),
            "format": format_,
            "description": self.description,
            "types": json.dumps(dict(self.types)) if self.types else "",
            "labels": json.dumps(dict(self.labels)) if self.labels else "",
        }
        return {name: value for name, value in words.items() if value}


def split_name(file: Path) -> tuple[str, str]:
    """Return the format that a file's name tells, empty if none, and the name without suffixes."""
    from trainbox_client.sources import FORMATS, PACKED

    plain = file.with_suffix("") if file.suffix.lower() in PACKED else file
    return FORMATS.get(plain.suffix.lower(), ""), plain.stem


def upload(session: Session, wanted: Upload) -> tuple[dict[str, Any], bool]:
    """Send data; returns the dataset, and whether the daemon had the same bytes under that name.

    Raises:
        CliError: the file cannot be read, nothing says what it is, or the daemon refused it.
    """
    said = wanted.said()
    try:
        with contextlib.ExitStack() as stack:
            if wanted.stdin:
                return whole(session, said, _chunks(sys.stdin.buffer))
            source = stack.enter_context(wanted.file.open("rb"))
            facts = os.fstat(source.fileno())
            if not stat.S_ISREG(facts.st_mode):  # a named pipe, or the shell's <(command)
                return whole(session, said, _chunks(source))
            if facts.st_size > WHOLE_BYTES:
                from trainbox.cli.resumable import send_in_pieces

                return send_in_pieces(session, wanted.file, source, said)
            show = stack.enter_context(bar(facts.st_size))
            return whole(session, said, _counted(_chunks(source), show), facts.st_size)
    except OSError as error:
        where = [f"{wanted.file}: {error.strerror}"]
        raise CliError("The file cannot be read.", Exit.USAGE, where=where) from None


def whole(
    session: Session, said: Mapping[str, str], data: Iterator[bytes], size: int | None = None
) -> tuple[dict[str, Any], bool]:
    """Send data in one request; ``size`` in bytes where it is known."""
    from trainbox.cli.client import reading_upload

    headers = {"Content-Type": "application/octet-stream"}
    if size is not None:
        headers["Content-Length"] = str(size)
    response = session.client.request(
        "POST",
        "/v1/datasets",
        params=said,
        content=data,
        headers=headers,
        timeout=reading_upload(),
    )
    return response.json(), response.headers.get("Dataset-Replayed") == "true"


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    while chunk := source.read(CHUNK):
        yield chunk


def _counted(chunks: Iterator[bytes], show: Bar) -> Iterator[bytes]:
    sent = 0
    for chunk in chunks:
        yield chunk
        sent += len(chunk)
        show.at(sent)
