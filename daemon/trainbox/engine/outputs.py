"""Copies out what a step declared, and nothing else. Everything in there is hostile data.

Called only when the sandbox is known to be dead. Everything is looked at before anything is copied;
what is copied is hashed on the way, and read a second time to see that nobody writes it any more.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from trainbox.blobs import CHUNK, BlobStore, in_thread
from trainbox.engine import guest_words
from trainbox.engine.content_types import ONNX, OTHER, TAR, content_type
from trainbox.engine.output_files import Found, OutputRefused, find, opened, reading
from trainbox.engine.output_tar import OVERHEAD_BYTES, tar
from trainbox.ids import new_id
from trainbox.store.records import NewArtifact
from trainbox_guest import protocol
from trainbox_sdk.errors import TooLarge
from trainbox_sdk.tasks import Output

__all__ = ["Collected", "OutputRefused", "collect", "read_result"]

FILE_KIND = "file"


@dataclass(frozen=True)
class Collected:
    """What came out of one sandbox: published files and the guest's own account.

    Attributes:
        to_check: the artifacts that an output's check must accept, by the output's name.
    """

    artifacts: tuple[NewArtifact, ...]
    result: dict[str, Any]
    to_check: Mapping[str, tuple[NewArtifact, ...]] = field(default_factory=dict)


async def collect(folder: Path, outputs: Sequence[Output], blobs: BlobStore) -> Collected:
    """Publish declared outputs as blobs and read ``result.json``.

    Raises:
        OutputRefused: missing, a link, no regular file, several names, empty, too large, too many,
            or written while it was read.
        StorageFull: no room to publish.
    """
    found = await in_thread(_look, folder, outputs)
    result = read_result(folder)
    to_check: dict[str, tuple[NewArtifact, ...]] = {}
    async with _Publisher.at_work(folder, blobs) as publisher:
        for output, files in found:
            made = await publisher.output(output, files)
            to_check[output.name] = tuple(
                each for each in made if not output.tree or _is_onnx(each)
            )
        return Collected(tuple(publisher.made), result, to_check)


def _look(folder: Path, outputs: Sequence[Output]) -> list[tuple[Output, list[Found]]]:
    with opened(folder) as fd:
        seen = [(output, find(fd, output)) for output in outputs]
    for output, files in seen:
        if output.required and not files:
            raise OutputRefused("output_missing", f"the step ended well but left no {output.name}")
    return seen


class _Publisher:
    """Turns the files of one sandbox into blobs; what it began and did not end is let go."""

    def __init__(self, folder_fd: int, blobs: BlobStore) -> None:
        self._fd = folder_fd
        self._blobs = blobs
        self.made: list[NewArtifact] = []

    @classmethod
    @asynccontextmanager
    async def at_work(cls, folder: Path, blobs: BlobStore) -> AsyncIterator[_Publisher]:
        with opened(folder) as fd:
            publisher = cls(fd, blobs)
            try:
                yield publisher
            except BaseException:
                for artifact in publisher.made:
                    blobs.settle(artifact.digest)
                raise

    async def output(self, output: Output, files: Sequence[Found]) -> list[NewArtifact]:
        """Publish one output; return its artifacts without the tar."""
        if not files:
            return []
        if not output.tree:
            return [await self._file(output, files[0], output.kind, output.media_type)]
        if files[0].path == output.name:
            return [await self._file(output, files[0], output.kind)]
        made, room = [], output.max_bytes
        for found in files:
            made.append(await self._file(output, found, FILE_KIND, room=room))
            room -= made[-1].bytes
        await self._chosen(output, made)
        return made

    async def _chosen(self, output: Output, made: Sequence[NewArtifact]) -> None:
        """Make the artifact that stands for a directory: its one ONNX model, or a tar of all."""
        models = [artifact for artifact in made if _is_onnx(artifact)]
        if len(models) == 1:
            at = self.made.index(models[0])
            self.made[at] = _with_kind(models[0], output.kind)
            return
        cut = len(output.name) + 1
        files = [(each.name[cut:], self._blobs.path(each.digest)) for each in made]
        most = sum(each.bytes for each in made) + OVERHEAD_BYTES * (len(made) + 1)
        blob = await self._blobs.put_stream(tar(files), most)
        self.made.append(
            NewArtifact(
                new_id("art"), f"{output.name}.tar", output.kind, blob.digest, blob.bytes, TAR
            )
        )

    async def _file(
        self,
        output: Output,
        found: Found,
        kind: str,
        media_type: str = "",
        *,
        room: int | None = None,
    ) -> NewArtifact:
        with reading(self._fd, found, output) as fd:
            try:
                most = output.max_bytes if room is None else room
                blob = await self._blobs.put_fd(fd, max_bytes=most)
            except TooLarge:
                raise _changed(found, "grew") from None
            told = media_type or _told(found, await in_thread(content_type, fd))
            artifact = NewArtifact(new_id("art"), found.path, kind, blob.digest, blob.bytes, told)
            self.made.append(artifact)
            if blob.bytes != found.size or await in_thread(_digest, fd) != blob.digest:
                raise _changed(found, "changed")
        return artifact


def _is_onnx(artifact: NewArtifact) -> bool:
    return artifact.media_type == ONNX


def _told(found: Found, seen: str) -> str:
    """Return the media type; what calls itself ONNX is checked as such, whatever it is."""
    return ONNX if seen == OTHER and found.path.lower().endswith(".onnx") else seen


def _with_kind(artifact: NewArtifact, kind: str) -> NewArtifact:
    return NewArtifact(
        artifact.id, artifact.name, kind, artifact.digest, artifact.bytes, artifact.media_type
    )


def _changed(found: Found, how: str) -> OutputRefused:
    return OutputRefused(
        "output_changed", f"{found.path} {how} while it was read: someone still writes to it"
    )


def _digest(fd: int) -> str:
    made, offset = hashlib.sha256(), 0
    while chunk := os.pread(fd, CHUNK, offset):
        made.update(chunk)
        offset += len(chunk)
    return f"sha256:{made.hexdigest()}"


def read_result(folder: Path) -> dict[str, Any]:
    """Return ``result.json`` as an object; a step may leave none.

    Raises:
        OutputRefused: there is one, and it is unreadable or not an object.
    """
    # Its size is judged below: a cut-off report is another mistake than a forbidden file.
    wanted = Output(protocol.RESULT_NAME, required=False, max_bytes=sys.maxsize)
    with opened(folder) as folder_fd:
        found = find(folder_fd, wanted)
        if not found:
            return {}
        with reading(folder_fd, found[0], wanted) as fd:
            text = os.pread(fd, protocol.MAX_RESULT_BYTES + 1, 0)
    if len(text) > protocol.MAX_RESULT_BYTES:
        raise _invalid(f"is larger than {protocol.MAX_RESULT_BYTES} bytes")
    try:
        raw = protocol.finite(json.loads(text))
    except (ValueError, RecursionError):
        raise _invalid("cannot be read as JSON") from None
    if not isinstance(raw, dict):
        raise _invalid("is not a JSON object")
    return guest_words.encodable(raw)


def _invalid(problem: str) -> OutputRefused:
    return OutputRefused("result_invalid", f"{protocol.RESULT_NAME} {problem}")
