"""Files of models: fetched piece by piece, checked, and gone on with where a connection broke."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import click

from trainbox.cli.exits import CliError, Exit
from trainbox.cli.images import progress
from trainbox.cli.render import human_bytes, print_json, talk
from trainbox.cli.session import Session, Verb, pass_session
from trainbox.cli.urls import segment

if TYPE_CHECKING:
    from trainbox.cli.client import Client

TRIES = 5
"""How often a broken download is taken up again before this command gives up."""
PAUSE_S = 1.0
PARTIAL = 206
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Wanted:
    """One file of the daemon, and where it is to lie.

    Attributes:
        url: path of its route.
        path: of the file here.
        digest: ``sha256:`` and 64 hexadecimal digits.
        bytes: size.
    """

    url: str
    path: Path
    digest: str
    bytes: int

    @property
    def part(self) -> Path:
        """What has come so far; another version of the file has another name."""
        return self.path.with_name(f".{self.path.name}.{self.digest[7:19]}.part")


@click.command("pull", cls=Verb)
@click.argument("model")
@click.option("--all", "whole", is_flag=True, help="The whole directory, not the graph alone.")
@click.option("--file", metavar="NAME", help="Another file of the directory, such as card.md.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File; with --all a folder.")
@pass_session
def command(
    session: Session, model: str, whole: bool, file: str | None, output: Path | None
) -> None:
    """Download the ONNX file, another file, or everything; digests are checked.

    A download that broke goes on where it stopped when the same command is given again.
    """
    if whole and file:
        raise CliError("Give either --all or --file.", Exit.USAGE)
    found = session.client.get(f"/v1/models/{segment(model)}")
    # A name made by others must not choose a folder.
    stem = f"{found['name']}-v{found['version']}".replace("/", "_").lstrip(".")
    if whole:
        _pull_directory(session, found, output or Path(stem))
        return
    wanted = _graph(found, output or Path(f"{stem}.onnx"))
    if file:
        wanted = _named(session, found, file, output)
    fetch(session, wanted)


def fetch(session: Session, wanted: Wanted) -> None:
    """Bring one file whole or not at all, and print where it is.

    Raises:
        CliError: it cannot be written, or what came is not what the digest says.
    """
    _check_target(wanted.path)
    fetch_all(session, [wanted])
    _print(session, wanted.path, wanted.digest, wanted.bytes)


def download(session: Session, model: Mapping[str, Any], path: Path) -> None:
    """Write a model's ONNX file whole or not at all.

    Raises:
        CliError: it cannot be written, or what came is not what the digest says.
    """
    _fetch(session.client, _graph(model, path), lambda _count: None)


def listed(session: Session, model: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a model's directory."""
    directory = session.client.get(f"/v1/models/{model['id']}/files")
    files: list[dict[str, Any]] = directory["files"]
    return files


def _graph(model: Mapping[str, Any], path: Path) -> Wanted:
    return Wanted(f"/v1/models/{model['id']}/onnx", path, model["digest"], model["bytes"])


def _named(session: Session, model: Mapping[str, Any], name: str, output: Path | None) -> Wanted:
    files = listed(session, model)
    one = next((one for one in files if one["path"] == name), None)
    if one is None:
        raise CliError(
            f"The model has no file {name!r}.",
            Exit.NOT_FOUND,
            where=[f"{one['path']}  {human_bytes(one['bytes'])}" for one in files],
            next_step="Give one of these as --file.",
        )
    return _wanted(model, one, output or Path(PurePosixPath(name).name))


def _wanted(model: Mapping[str, Any], file: Mapping[str, Any], path: Path) -> Wanted:
    url = f"/v1/models/{model['id']}/files/" + "/".join(map(segment, file["path"].split("/")))
    return Wanted(url, path, file["digest"], file["bytes"])


def _pull_directory(session: Session, model: Mapping[str, Any], folder: Path) -> None:
    files = listed(session, model)
    # The list of all others comes last: a folder that has it is complete.
    files.sort(key=lambda one: one["path"] == MANIFEST)
    wanted = [_wanted(model, one, inside(folder, PurePosixPath(one["path"]))) for one in files]
    if folder.exists() and not folder.is_dir():
        raise CliError(f"{folder} is a file; --all needs a folder.", Exit.USAGE)
    fetch_all(session, wanted)
    manifest = next((one for one in wanted if one.path.name == MANIFEST), wanted[-1])
    _print(session, folder, manifest.digest, sum(one.bytes for one in wanted))


def inside(folder: Path, place: PurePosixPath) -> Path:
    """Return a path in the folder: what a daemon answers must not choose another place.

    Raises:
        CliError: it would.
    """
    name = str(place)
    if place.is_absolute() or ".." in place.parts or "\0" in name or not place.parts:
        raise CliError(
            f"The daemon names a file {name!r}, which leads elsewhere.", Exit.INTERNAL, where=[name]
        )
    return folder.joinpath(*place.parts)


def _check_target(path: Path) -> None:
    if path.is_dir():
        raise CliError(f"{path} is a folder; -o takes the name of a file.", Exit.USAGE)


def fetch_all(session: Session, wanted: list[Wanted]) -> None:
    """Bring files, each whole or not at all.

    Raises:
        CliError: as of :func:`fetch`.
    """
    total = sum(one.bytes for one in wanted) or 1
    done = 0
    with progress() as report:
        for one in wanted:
            before = done

            def count(size: int, one: Wanted = one, before: int = before) -> None:
                report((before + size) / total, one.path.name)

            _fetch(session.client, one, count)
            done += one.bytes


def _fetch(client: Client, wanted: Wanted, count: Callable[[int], None]) -> None:
    """Bring one file; what is here already, whole and right, is not asked for again.

    Raises:
        CliError: it cannot be written, what came is not what the digest says, or the connection
            was lost ``TRIES`` times in a row without a byte.
    """
    try:
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        if wanted.path.is_file() and _digest_of(wanted.path) == wanted.digest:
            return
        _bring(client, wanted, count)
        if _digest_of(wanted.part) != wanted.digest:
            wanted.part.unlink()
            raise CliError(
                "What came is not what the digest says.",
                Exit.INTERNAL,
                where=[f"{wanted.path}: {wanted.digest}"],
                next_step="Give the command again; it begins anew.",
            )
        wanted.part.replace(wanted.path)
    except OSError as error:
        where = [f"{error.filename or wanted.path}: {error.strerror}"]
        raise CliError("The file cannot be written.", Exit.USAGE, where=where) from None


def _bring(client: Client, wanted: Wanted, count: Callable[[int], None]) -> None:
    """Fill the part, taking broken downloads up again while they make progress."""
    tries = TRIES
    while True:
        before = _size(wanted.part)
        try:
            return _go_on(client, wanted, count)
        except CliError as error:
            now = _size(wanted.part)
            tries = TRIES if now > before else tries - 1
            if error.exit_code != Exit.UNREACHABLE or not tries:
                if now:
                    error.next_step = (
                        f"Give the command again; it goes on after {human_bytes(now)}."
                    )
                raise
        time.sleep(PAUSE_S)


def _go_on(client: Client, wanted: Wanted, count: Callable[[int], None]) -> None:
    if _size(wanted.part) > wanted.bytes:
        wanted.part.unlink()
    with wanted.part.open("ab") as file:
        if file.tell() < wanted.bytes:
            _append(client, wanted, file, count)
        file.flush()
        os.fsync(file.fileno())


def _append(client: Client, wanted: Wanted, file: IO[bytes], count: Callable[[int], None]) -> None:
    headers = {"Range": f"bytes={file.tell()}-"} if file.tell() else {}
    with client.stream(wanted.url, headers=headers) as response:
        if response.status_code != PARTIAL:
            file.truncate(0)
        for chunk in response.iter_bytes():
            file.write(chunk)
            count(file.tell())


def _print(session: Session, path: Path, digest: str, size: int) -> None:
    if session.json:
        print_json({"path": str(path), "digest": digest, "bytes": size})
    else:
        talk(f"{human_bytes(size)}, {digest}")
        click.echo(str(path))


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()
