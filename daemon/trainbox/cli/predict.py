"""``trainbox models predict``: rows in, rows out, as JSON, CSV, Parquet or Arrow."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import click

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.render import print_json, print_json_line, talk
from trainbox.cli.rows import read_rows
from trainbox.cli.session import Session, Verb, pass_session
from trainbox.cli.urls import segment
from trainbox_sdk.spreadsheets import safe_cell

BATCH = 1000
"""Rows per predict request: bounded memory on both sides."""
PREDICT_S = 600.0
"""Longest wait for the answer to a whole file, which the daemon reads before it predicts."""

JSON_TYPE = "application/json"
TABLES = {
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.file",
    ".feather": "application/vnd.apache.arrow.file",
    ".arrows": "application/vnd.apache.arrow.stream",
}
"""Files the daemon reads itself; every other one is read here and sent in batches of rows."""
ANSWERS = {
    ".parquet": "application/vnd.apache.parquet",
    ".arrow": "application/vnd.apache.arrow.stream",
    ".arrows": "application/vnd.apache.arrow.stream",
}
"""Answers the daemon writes, whole; CSV and JSON are written here, batch by batch."""
WRITTEN_HERE = (".csv", ".json", ".jsonl", ".ndjson")


class Wish(NamedTuple):
    """What is asked of the daemon, in whichever form the rows come."""

    model: Mapping[str, Any]
    ignore_extra: bool

    @property
    def path(self) -> str:
        """The route."""
        return f"/v1/models/{self.model['id']}/predict"

    @property
    def params(self) -> dict[str, str]:
        """The query."""
        return {"ignore_extra": "true"} if self.ignore_extra else {}


@click.command("predict", cls=Verb)
@click.argument("model")
@click.option(
    "--rows",
    "file",
    type=click.Path(path_type=Path, allow_dash=True),
    help="CSV, JSON, JSON Lines, Parquet or Arrow; - reads stdin.",
)
@click.option("--row", "pairs", multiple=True, metavar="NAME=VALUE", help="One row, by columns.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File; .csv, .json, .jsonl, .parquet or .arrow says which form. Else JSON Lines here.",
)
@click.option("--ignore-extra", is_flag=True, help="Leave out columns the model does not know.")
@pass_session
def command(
    session: Session,
    *,
    model: str,
    file: Path | None,
    pairs: tuple[str, ...],
    output: Path | None,
    ignore_extra: bool,
) -> None:
    """Predict rows; there is one answer a row, in their order."""
    if (file is None) == (not pairs):
        raise CliError("Give either --rows FILE or --row NAME=VALUE.", Exit.USAGE)
    suffix = _suffix(output)
    wish = Wish(session.client.get(f"/v1/models/{segment(model)}"), ignore_extra)
    if output and suffix in ANSWERS:
        count = _whole_table(session, wish, file, pairs, output)
        _say(session, wish, output, count, ())
        return
    warnings: dict[str, None] = {}
    answers = _answers(session, wish, file, pairs, warnings)
    if output:
        with _writing(output) as part:
            count = _write(part, suffix, wish, answers)
        _say(session, wish, output, count, tuple(warnings))
    elif session.json:
        rows = list(answers)
        print_json({"model_id": wish.model["id"], "rows": rows, "warnings": list(warnings)})
    else:
        for row in answers:
            print_json_line(row)
    for warning in warnings:
        talk(f"Warning: {warning}")


def _suffix(output: Path | None) -> str:
    suffix = output.suffix.lower() if output else ".jsonl"
    if suffix not in {*ANSWERS, *WRITTEN_HERE}:
        raise CliError(
            f"-o {output} does not say in which form.",
            Exit.USAGE,
            next_step="End its name with .csv, .json, .jsonl, .parquet or .arrow.",
        )
    return suffix


def _answers(
    session: Session,
    wish: Wish,
    file: Path | None,
    pairs: tuple[str, ...],
    warnings: dict[str, None],
) -> Iterator[dict[str, Any]]:
    """Yield answers batch by batch; what the daemon warns of is added to ``warnings``."""
    if file and file.suffix.lower() in TABLES:
        answer = _send(session, wish, *_table(file)).json()
        warnings |= dict.fromkeys(answer["warnings"])
        yield from answer["rows"]
        return
    rows = read_rows(file, pairs, wish.model["signature"]["inputs"])
    while batch := list(islice(rows, BATCH)):
        answer = _send(session, wish, *_json(batch)).json()
        warnings |= dict.fromkeys(answer["warnings"])
        yield from answer["rows"]


def _whole_table(
    session: Session, wish: Wish, file: Path | None, pairs: tuple[str, ...], output: Path
) -> int | None:
    """Have the daemon write the answer; returns the number of rows, None where it is not known."""
    count = None
    if file and file.suffix.lower() in TABLES:
        body = _table(file)
    else:
        rows = list(read_rows(file, pairs, wish.model["signature"]["inputs"]))
        body, count = _json(rows), len(rows)
    answer = _send(session, wish, *body, accept=ANSWERS[output.suffix.lower()])
    with _writing(output) as part:
        part.write_bytes(answer.content)
    return count


def _table(file: Path) -> tuple[bytes, str]:
    try:
        return file.read_bytes(), TABLES[file.suffix.lower()]
    except OSError as error:
        where = [f"{file}: {error.strerror}"]
        raise CliError("The rows cannot be read.", Exit.USAGE, where=where) from None


def _json(rows: list[dict[str, Any]]) -> tuple[bytes, str]:
    try:
        return json.dumps({"rows": rows}, allow_nan=False).encode(), JSON_TYPE
    except ValueError:
        raise CliError(
            "The rows hold NaN or an infinite number, which JSON lacks.",
            Exit.REJECTED,
            next_step="Leave a missing number empty, or write null.",
        ) from None


def _send(
    session: Session, wish: Wish, body: bytes, media_type: str, *, accept: str = JSON_TYPE
) -> Any:
    return session.client.request(
        "POST",
        wish.path,
        params=wish.params,
        content=body,
        headers={"Content-Type": media_type, "Accept": accept},
        timeout=PREDICT_S,
    )


@contextlib.contextmanager
def _writing(output: Path) -> Iterator[Path]:
    """Give a file to write that gets its name only once it is whole."""
    part = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(output)
    except OSError as error:
        where = [f"{output}: {error.strerror}"]
        raise CliError("The answers cannot be written.", Exit.USAGE, where=where) from None
    finally:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def _write(part: Path, suffix: str, wish: Wish, answers: Iterator[dict[str, Any]]) -> int:
    count = 0
    with part.open("w", encoding="utf-8", newline="") as file:
        if suffix == ".json":
            rows = list(answers)
            json.dump({"model_id": wish.model["id"], "rows": rows}, file, ensure_ascii=False)
            return len(rows)
        table = csv.writer(file, lineterminator="\n")
        for count, row in enumerate(answers, start=1):
            if suffix == ".csv":
                cells = flat(row)
                if count == 1:
                    table.writerow([safe_cell(name) for name in cells])
                table.writerow(map(_cell, cells.values()))
            else:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return count


def flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as a table has it: ``probability_yes`` for a label of ``probabilities``."""
    cells: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            stem = "probability" if name == "probabilities" else name
            cells |= {f"{stem}_{label}": inner for label, inner in value.items()}
        elif isinstance(value, list):
            cells |= {f"{name}_{at}": inner for at, inner in enumerate(value)}
        else:
            cells[name] = value
    return cells


def _cell(value: Any) -> Any:
    return safe_cell(value) if isinstance(value, str) else value


def _say(
    session: Session, wish: Wish, output: Path, count: int | None, warnings: tuple[str, ...]
) -> None:
    if session.json:
        facts = {"model_id": wish.model["id"], "path": str(output), "rows": count}
        print_json(facts | {"warnings": warnings})
        return
    if count is not None:
        talk(f"{count} rows.")
    click.echo(str(output))
