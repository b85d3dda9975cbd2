"""Attacks by what a sandbox leaves behind, named for the attack; each is refused in one sentence.

No sandbox is needed: a test shapes the output directory as a script could have, then collects it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from trainbox.blobs import BlobStore
from trainbox.engine import outputs as collecting
from trainbox.engine.outputs import OutputRefused, collect
from trainbox.engine.writable import remove_tree
from trainbox_sdk.tasks import Output

pytestmark = pytest.mark.hostile

TREE = Output("model", kind="model", required=False, max_bytes=1000, tree=True, max_files=20)
PLAIN = Output("model", kind="model", required=False, max_bytes=1000)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    (folder / "model").mkdir(parents=True)
    return folder


async def refusal(out: Path, output: Output = TREE) -> str:
    """Collect; return the sentence of the refusal. Nothing may have been stored."""
    blobs = BlobStore(out.parent / "blobs")
    with pytest.raises(OutputRefused) as refused:
        await collect(out, [output], blobs)
    assert refused.value.code == "output_refused"
    assert list(blobs.files()) == []
    sentence = str(refused.value)
    assert len(sentence) < 300
    assert sentence.isprintable()
    return sentence


def nested(model: Path) -> None:
    for _ in range(17):
        model = model / "d"
    model.mkdir(parents=True)


def bytes_name(model: Path) -> None:
    with open(os.fsencode(model) + b"/\xff\xfe.bin", "wb") as file:
        file.write(b"x")


def hard_link(model: Path) -> None:
    (model / "a").write_bytes(b"x")
    os.link(model / "a", model / "b")


def unix_socket(model: Path) -> None:
    here = os.getcwd()
    os.chdir(model)
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("s")
    finally:
        os.chdir(here)


def many(count: int) -> Callable[[Path], None]:
    return lambda model: [(model / str(n)).touch() for n in range(count)] and None


def sparse(model: Path) -> None:
    with (model / "sparse").open("wb") as file:
        file.truncate(8 * 1024**4)


ATTACKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "symlink_to_etc_shadow": (
        lambda model: (model / "weights").symlink_to("/etc/shadow"),
        "model/weights is a symbolic link; write the file itself",
    ),
    "symlink_to_a_sibling": (
        lambda model: (model / "weights").symlink_to("other"),
        "model/weights is a symbolic link; write the file itself",
    ),
    "symlinked_folder": (
        lambda model: (model / "sub").symlink_to("/etc"),
        "model/sub is a symbolic link; write the file itself",
    ),
    "hard_link": (hard_link, "has 2 names (hard links); leave one"),
    "fifo": (lambda model: os.mkfifo(model / "f"), "model/f is a pipe, not a regular file"),
    "socket": (unix_socket, "model/s is a socket, not a regular file"),
    "device": (
        lambda model: os.mknod(model / "null", 0o20666, os.makedev(1, 3)),
        "model/null is a device, not a regular file",
    ),
    "sparse_file_of_8_TiB": (sparse, "has 8796093022208 bytes, over the limit of 1000"),
    "sum_over_the_limit": (
        lambda model: [(model / str(n)).write_bytes(b"x" * 600) for n in range(2)],
        "model holds more than 1000 bytes in all",
    ),
    "too_many_files": (many(21), "model holds more than 20 files"),
    "too_many_folders": (
        lambda model: [(model / str(n)).mkdir() for n in range(21)],
        "model holds more than 20 folders",
    ),
    "deep_folders": (nested, "lies deeper than 16 folders"),
    "name_that_is_no_utf8": (bytes_name, r"model/\xff\xfe.bin: its name is not UTF-8; rename it"),
    "name_with_newline": (
        lambda model: (model / "a\nb").touch(),
        r"model/a\nb: its name holds U+000A, which is not shown; rename it",
    ),
    "name_with_terminal_escape": (
        lambda model: (model / "a\x1b[2Jb").touch(),
        r"model/a\x1b[2Jb: its name holds U+001B, which is not shown; rename it",
    ),
    "name_that_reads_backwards": (
        lambda model: (model / "a\u202egnp.exe").touch(),
        r"model/a\u202egnp.exe: its name holds U+202E, which is not shown; rename it",
    ),
    "name_too_long": (
        lambda model: (
            (model / ("d" * 250) / ("e" * 250) / ("f" * 250)).mkdir(parents=True)
            or (model / ("d" * 250) / ("e" * 250) / ("f" * 250) / "x").touch()
        ),
        "its path is longer than 512 bytes",
    ),
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_in_a_directory(out: Path, attack: str) -> None:
    act, expected = ATTACKS[attack]
    act(out / "model")
    assert expected in await refusal(out)


async def test_name_with_a_zip_slip_stays_below(out: Path) -> None:
    """No name leaves the directory: the kernel joins them, and a backslash is no separator."""
    (out / "model" / r"..\..\etc").write_bytes(b"x")
    (out / "model" / "...").write_bytes(b"x")
    blobs = BlobStore(out.parent / "blobs")
    names = {each.name for each in (await collect(out, [TREE], blobs)).artifacts}
    assert names == {"model/...", r"model/..\..\etc", "model.tar"}


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        (lambda path: path.symlink_to("/etc/shadow"), "model is a symbolic link"),
        (lambda path: os.mkfifo(path), "model is a pipe, not a regular file"),
        (lambda path: path.mkdir(), "model is a directory; write a file"),
        (lambda path: path.write_bytes(b""), "model is empty"),
        (lambda path: path.write_bytes(b"x" * 1001), "has 1001 bytes, over the limit of 1000"),
        (lambda path: path.write_bytes(b"x") and os.link(path, f"{path}2"), "has 2 names"),
    ],
    ids=["symlink", "fifo", "directory", "empty", "too_large", "hard_link"],
)
async def test_in_place_of_a_file(
    out: Path, shape: Callable[[Path], object], expected: str
) -> None:
    (out / "model").rmdir()
    shape(out / "model")
    assert expected in await refusal(out, PLAIN)


async def test_output_directory_replaced_by_a_link(out: Path) -> None:
    remove_tree(out)
    out.symlink_to("/etc")
    assert "the output directory cannot be read" in await refusal(out)


async def test_folder_swapped_for_a_link_after_the_look(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking and copying a survivor swaps a folder: the copy does not follow."""
    (out / "model" / "sub").mkdir()
    (out / "model" / "sub" / "passwd").write_bytes(b"x" * 10)
    look = collecting._look

    def swap(*args):
        seen = look(*args)
        remove_tree(out / "model" / "sub")
        (out / "model" / "sub").symlink_to("/etc")
        return seen

    monkeypatch.setattr(collecting, "_look", swap)
    assert "model/sub/passwd is a symbolic link" in await refusal(out)


@pytest.mark.parametrize("how", ["grows", "changes"])
async def test_file_written_while_it_is_copied(
    out: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = out / "model" / "weights"
    target.write_bytes(b"a" * 100)
    blobs = BlobStore(out.parent / "blobs")
    put = blobs.put_fd

    async def meddled(fd: int, *, max_bytes: int):
        blob = await put(fd, max_bytes=max_bytes)
        with target.open("r+b") as file:
            file.seek(0, os.SEEK_END if how == "grows" else os.SEEK_SET)
            file.write(b"z")
        return blob

    monkeypatch.setattr(blobs, "put_fd", meddled)
    with pytest.raises(OutputRefused) as refused:
        await collect(out, [TREE], blobs)
    assert refused.value.code == "output_changed"


async def test_three_thousand_nested_folders_are_refused_and_removed(out: Path) -> None:
    here = os.open(out / "model", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert "lies deeper than 16 folders" in await refusal(out)
    remove_tree(out)
    assert not out.exists()
