"""Only what was declared comes out, and only as a plain file; what it was is recorded."""

from __future__ import annotations

import hashlib
import os
import socket
from pathlib import Path

import pytest

from trainbox.blobs import BlobStore
from trainbox.engine.outputs import OutputRefused, collect, read_result
from trainbox_sdk.tasks import Output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


async def test_declared_files_are_published_with_their_digest(folder, blobs) -> None:
    (folder / "a").write_bytes(b"one")
    (folder / "b").write_bytes(b"two")
    (folder / "c").write_bytes(b"not declared")
    found = await collect(folder, [Output("a", kind="model"), Output("b")], blobs)
    assert [(a.name, a.kind, a.bytes) for a in found.artifacts] == [
        ("a", "model", 3),
        ("b", "file", 3),
    ]
    for artifact, content in zip(found.artifacts, (b"one", b"two"), strict=True):
        assert artifact.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
        assert blobs.path(artifact.digest).read_bytes() == content


async def test_a_socket_is_refused(folder, blobs) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(folder / "a"))
        with pytest.raises(OutputRefused, match="socket"):
            await collect(folder, [Output("a")], blobs)


async def test_a_link_to_a_declared_sibling_is_refused(folder, blobs) -> None:
    (folder / "b").write_bytes(b"x")
    (folder / "a").symlink_to("b")
    with pytest.raises(OutputRefused, match="symbolic link"):
        await collect(folder, [Output("a")], blobs)


@pytest.mark.parametrize("required", [True, False])
async def test_an_optional_file_that_is_no_file_is_refused_all_the_same(
    folder, blobs, required
) -> None:
    os.mkfifo(folder / "a")
    with pytest.raises(OutputRefused):
        await collect(folder, [Output("a", required=required)], blobs)


async def test_descriptors_are_given_back_whatever_is_there(folder, blobs) -> None:
    (folder / "fine").write_bytes(b"x")
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    before = len(os.listdir("/proc/self/fd"))
    for name in ("pipe", "link", "empty", "folder", "absent"):
        for _ in range(10):
            with pytest.raises(OutputRefused):
                await collect(folder, [Output("fine"), Output(name)], blobs)
    assert len(os.listdir("/proc/self/fd")) == before


async def test_nothing_half_copied_stays(folder, blobs, tmp_path) -> None:
    (folder / "a").write_bytes(b"x" * 50)
    with pytest.raises(OutputRefused):
        await collect(folder, [Output("a", max_bytes=49)], blobs)
    assert not list((tmp_path / "blobs" / "incoming").iterdir())
    assert not list((tmp_path / "blobs" / "sha256").iterdir())


def test_a_result_may_be_absent(folder) -> None:
    assert read_result(folder) == {}


def test_numbers_that_json_does_not_have_become_null(folder) -> None:
    (folder / "result.json").write_text('{"a": NaN, "b": [Infinity, 1]}')
    assert read_result(folder) == {"a": None, "b": [None, 1]}


@pytest.mark.parametrize(
    "make", [os.mkfifo, os.mkdir, lambda path: os.symlink("/etc/passwd", path)]
)
def test_a_result_that_is_no_file_is_refused(folder, make) -> None:
    make(folder / "result.json")
    with pytest.raises(OutputRefused):
        read_result(folder)
