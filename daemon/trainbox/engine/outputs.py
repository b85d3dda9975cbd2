"""Copies out what a step declared, and nothing else. Everything in there is hostile data.

Called only when the sandbox is known to be dead. Files are opened relative to the directory's
descriptor without following links; only regular files with one name are taken, within a stated
size, hashed while they are copied.
"""

from __future__ import annotations

import errno
import json
import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainbox.blobs import BlobStore
from trainbox.engine.verdict import StepEnds
from trainbox.ids import new_id
from trainbox.store.records import NewArtifact
from trainbox_guest import protocol
from trainbox_sdk.tasks import Output


class OutputRefused(StepEnds):
    """A declared output is missing or not what it should be, so the step fails.

    Attributes:
        code: ``output_missing``, ``output_refused``, ``result_invalid``, ``parity_failed`` or
            ``artifact_refused``.
    """


@dataclass(frozen=True)
class Collected:
    """What came out of one sandbox: published files and the guest's own account."""

    artifacts: tuple[NewArtifact, ...]
    result: dict[str, Any]


async def collect(folder: Path, outputs: Sequence[Output], blobs: BlobStore) -> Collected:
    """Publish declared outputs as blobs and read ``result.json``.

    Raises:
        OutputRefused: missing, a link, no regular file, several names, empty or too large.
        StorageFull: no room to publish.
    """
    artifacts = []
    for output in outputs:
        artifact = await _publish(folder, output, blobs)
        if artifact is not None:
            artifacts.append(artifact)
    return Collected(tuple(artifacts), read_result(folder))


def read_result(folder: Path) -> dict[str, Any]:
    """Return ``result.json`` as an object; a step may leave none.

    Raises:
        OutputRefused: there is one, and it is unreadable or not an object.
    """
    # Its size is judged below: a cut-off report is another mistake than a forbidden file.
    fd = _open_output(folder, Output(protocol.RESULT_NAME, required=False, max_bytes=sys.maxsize))
    if fd is None:
        return {}
    with os.fdopen(fd, "rb") as file:
        text = file.read(protocol.MAX_RESULT_BYTES + 1)
    if len(text) > protocol.MAX_RESULT_BYTES:
        raise _invalid(f"is larger than {protocol.MAX_RESULT_BYTES} bytes")
    try:
        raw = protocol.finite(json.loads(text))
    except (ValueError, RecursionError):
        raise _invalid("cannot be read as JSON") from None
    if not isinstance(raw, dict):
        raise _invalid("is not a JSON object")
    return raw


def _invalid(problem: str) -> OutputRefused:
    return OutputRefused("result_invalid", f"{protocol.RESULT_NAME} {problem}")


async def _publish(folder: Path, output: Output, blobs: BlobStore) -> NewArtifact | None:
    fd = _open_output(folder, output)
    if fd is None:
        return None
    try:
        blob = await blobs.put_fd(fd, max_bytes=output.max_bytes)
    finally:
        os.close(fd)
    return NewArtifact(
        new_id("art"), output.name, output.kind, blob.digest, blob.bytes, output.media_type
    )


def _open_output(folder: Path, output: Output) -> int | None:
    """Return a descriptor of the regular file, or None for an optional one that is absent."""
    try:
        folder_fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise OutputRefused(
            "output_refused", f"the output directory cannot be read: {error.strerror}"
        ) from error
    try:
        # O_NONBLOCK: a FIFO without it would block for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        fd = os.open(output.name, flags, dir_fd=folder_fd)
    except FileNotFoundError:
        if output.required:
            raise OutputRefused(
                "output_missing", f"the step ended well but left no {output.name}"
            ) from None
        return None
    except OSError as error:
        raise OutputRefused("output_refused", _open_sentence(output.name, error)) from error
    finally:
        os.close(folder_fd)
    problem = _problem(os.fstat(fd), output)
    if problem:
        os.close(fd)
        raise OutputRefused("output_refused", f"{output.name} {problem}")
    return fd


def _open_sentence(name: str, error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return f"{name} is a symbolic link; write the file itself"
    if error.errno == errno.ENXIO:
        return f"{name} is a socket or an unread pipe; write a regular file"
    return f"{name} cannot be opened: {error.strerror}"


def _problem(info: os.stat_result, output: Output) -> str:
    if not stat.S_ISREG(info.st_mode):
        return "is not a regular file"
    if info.st_nlink != 1:
        return f"has {info.st_nlink} names (hard links); leave one"
    if info.st_size == 0:
        return "is empty"
    if info.st_size > output.max_bytes:
        return f"has {info.st_size} bytes, over the limit of {output.max_bytes}"
    return ""
