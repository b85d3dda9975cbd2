"""What collecting makes of a dead sandbox's files: artifacts, names, types, one tar."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from pathlib import Path

import pytest

from trainbox.blobs import BlobStore
from trainbox.engine.content_types import content_type
from trainbox.engine.outputs import Collected, OutputRefused, collect
from trainbox_sdk.tasks import Output

MODEL = Output("model", kind="model", required=False, max_bytes=10_000, tree=True, max_files=20)
GRAPH = bytes.fromhex("0807") + b"\x12\x04test" + b"\x3a\x04\x12\x02gr" + bytes.fromhex("42021011")
"""The outline of an ONNX model: IR version 7, a producer, a graph, an operator set."""


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "output"
    folder.mkdir()
    return folder


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


def put(out: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_bytes(data)


def told(collected: Collected) -> list[tuple[str, str, str]]:
    return [(each.name, each.kind, each.media_type) for each in collected.artifacts]


class TestTree:
    async def test_a_file_is_the_artifact_itself(self, out: Path, blobs: BlobStore) -> None:
        put(out, {"model": GRAPH})
        collected = await collect(out, [MODEL], blobs)
        assert told(collected) == [("model", "model", "application/onnx")]
        assert collected.to_check == {"model": collected.artifacts}

    async def test_a_pickle_is_kept_and_not_checked(self, out: Path, blobs: BlobStore) -> None:
        put(out, {"model": pickle.dumps({"w": [1, 2]})})
        collected = await collect(out, [MODEL], blobs)
        assert told(collected) == [("model", "model", "application/x-pickle")]
        assert collected.to_check == {"model": ()}

    async def test_of_a_directory_the_one_onnx_stands_for_it(
        self, out: Path, blobs: BlobStore
    ) -> None:
        put(out, {"model/labels.txt": b"a\nb\n", "model/graphs/main.onnx": GRAPH})
        collected = await collect(out, [MODEL], blobs)
        assert told(collected) == [
            ("model/graphs/main.onnx", "model", "application/onnx"),
            ("model/labels.txt", "file", "application/octet-stream"),
        ]
        assert [each.name for each in collected.to_check["model"]] == ["model/graphs/main.onnx"]

    async def test_of_a_directory_without_one_a_tar_stands_for_it(
        self, out: Path, blobs: BlobStore
    ) -> None:
        files = {"model/b.bin": b"\x01", "model/a/x.bin": b"\x00" * 700, "model/empty": b""}
        put(out, files)
        collected = await collect(out, [MODEL], blobs)
        assert told(collected)[-1] == ("model.tar", "model", "application/x-tar")
        with tarfile.open(blobs.path(collected.artifacts[-1].digest)) as archive:
            members = [(m.name, m.mtime, m.uid, m.mode) for m in archive]
            assert members == [(n, 0, 0, 0o644) for n in ("a/x.bin", "b.bin", "empty")]
            assert archive.extractfile("a/x.bin").read() == b"\x00" * 700  # type: ignore[union-attr]

    async def test_two_onnx_files_are_both_checked_and_a_tar_stands_for_them(
        self, out: Path, blobs: BlobStore
    ) -> None:
        put(out, {"model/a.onnx": GRAPH, "model/b.onnx": GRAPH})
        collected = await collect(out, [MODEL], blobs)
        assert [kind for _, kind, _ in told(collected)] == ["file", "file", "model"]
        assert len(collected.to_check["model"]) == 2

    async def test_the_same_files_give_the_same_tar(self, out: Path, blobs: BlobStore) -> None:
        put(out, {"model/b": b"1", "model/a": b"2", f"model/{'ł' * 90}": b"3"})
        first = (await collect(out, [MODEL], blobs)).artifacts[-1]
        for path in out.rglob("*"):
            os.utime(path, (1, 1))
        (out / "model/a").chmod(0o600)
        assert (await collect(out, [MODEL], blobs)).artifacts[-1].digest == first.digest

    @pytest.mark.parametrize("files", [{}, {"other": b"x"}, {"model/": None}], ids=repr)
    async def test_nothing_there_is_success_without_a_model(
        self, out: Path, blobs: BlobStore, files: dict[str, bytes | None]
    ) -> None:
        for name, data in files.items():
            (out / name).mkdir() if data is None else (out / name).write_bytes(data)
        assert (await collect(out, [MODEL], blobs)).artifacts == ()

    async def test_nothing_there_is_missing_where_it_is_required(
        self, out: Path, blobs: BlobStore
    ) -> None:
        (out / "model").mkdir()
        with pytest.raises(OutputRefused) as refused:
            await collect(out, [Output("model", tree=True)], blobs)
        assert refused.value.code == "output_missing"

    async def test_a_refusal_leaves_no_bytes_behind(self, out: Path, blobs: BlobStore) -> None:
        put(out, {"model/a": b"1"})
        (out / "model/z").symlink_to("a")
        with pytest.raises(OutputRefused):
            await collect(out, [MODEL], blobs)
        assert list(blobs.files()) == []

    async def test_a_plain_output_keeps_its_stated_type_and_is_checked(
        self, out: Path, blobs: BlobStore
    ) -> None:
        put(out, {"model.onnx": b"no onnx at all"})
        plain = Output("model.onnx", kind="model", media_type="application/onnx", check="onnx")
        collected = await collect(out, [plain], blobs)
        assert told(collected) == [("model.onnx", "model", "application/onnx")]
        assert collected.to_check["model.onnx"] == collected.artifacts


def zipped() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("data.pkl", b"x")
    return made.getvalue()


def tarred() -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("x"))
    return made.getvalue()


TYPES = {
    "onnx": (GRAPH, "application/onnx"),
    "zip": (zipped(), "application/zip"),
    "tar": (tarred(), "application/x-tar"),
    "gzip": (b"\x1f\x8b\x08\x00", "application/gzip"),
    "pickle 2": (pickle.dumps([1], 2), "application/x-pickle"),
    "pickle 5": (pickle.dumps([1], 5), "application/x-pickle"),
    "text": (b"hello", "application/octet-stream"),
    "nothing": (b"", "application/octet-stream"),
    "a version alone": (b"\x08\x07", "application/octet-stream"),
    "cut off": (GRAPH[:-1], "application/octet-stream"),
    "a length beyond the end": (b"\x08\x07\x3a\xff\xff\xff\xff\x0f", "application/octet-stream"),
    "a varint without end": (b"\x08" + b"\xff" * 30, "application/octet-stream"),
    "fields without end": (b"\x08\x07" * 20_000 + GRAPH, "application/octet-stream"),
    "an unknown field": (GRAPH + b"\x7a\x00", "application/octet-stream"),
}


@pytest.mark.parametrize("name", TYPES)
def test_a_type_is_told_by_content(tmp_path: Path, name: str) -> None:
    data, expected = TYPES[name]
    (tmp_path / "f").write_bytes(data)
    fd = os.open(tmp_path / "f", os.O_RDONLY)
    try:
        assert content_type(fd) == expected
    finally:
        os.close(fd)
