"""Large files in pieces by tus 1.0.0 (https://tus.io/protocols): a break costs one piece.

Where an upload lies at the daemon is kept in the user's cache, so the same command goes on with it
also in a later process.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from trainbox.cli.client import RECONNECT_FOR_S, field_line, reading_upload
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.hints import with_commands
from trainbox.cli.render import human_bytes, talk
from trainbox.cli.session import Session
from trainbox.cli.transfer_bar import CHUNK, Bar, bar
from trainbox.cli.urls import segment

if TYPE_CHECKING:
    import httpx2

PIECE_BYTES = 8 * 1024**2
TUS = {"Tus-Resumable": "1.0.0"}
LONGEST_PAUSE_S = 2.0
TOO_MANY_REQUESTS = 429


def send_in_pieces(
    session: Session, file: Path, source: IO[bytes], said: Mapping[str, str]
) -> tuple[dict[str, Any], bool]:
    """Send a file; returns the dataset, and whether the daemon had the same bytes before.

    Args:
        session: knows the daemon.
        file: where it lies; with its size and time it tells one upload from another.
        source: the same file, open.
        said: name, format and what else is said of it.

    Raises:
        CliError: the daemon refused, or stayed away; what is there by then is kept for the next
            time.
    """
    facts = os.fstat(source.fileno())
    size = facts.st_size
    identity = [session.base_url(), str(file.absolute()), size, facts.st_mtime_ns, dict(said)]
    sending = _Sending(session, source, size, Memory.of(identity))
    with bar(size) as show, _resumable(sending):
        sending.begin({"filename": file.name, **said})
        while sending.offset < size:
            sending.piece(show)
        show.say("reading")
        return sending.outcome()


@dataclass(frozen=True)
class Memory:
    """Where an upload lies at the daemon, kept in a file; a cache that may be lost."""

    path: Path

    @classmethod
    def of(cls, identity: object) -> Memory:
        """Return the memory of what is told apart by ``identity``."""
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        name = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        return cls(Path(cache) / "trainbox" / "uploads" / f"{name}.json")

    def recall(self) -> str:
        """Return the path at the daemon, empty where none is known."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            return str(json.loads(self.path.read_text(encoding="utf-8"))["place"])
        return ""

    def keep(self, place: str, file: str) -> None:
        """Remember; where the cache cannot be written, a later process begins anew."""
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.path.write_text(json.dumps({"place": place, "file": file}), encoding="utf-8")

    def forget(self) -> None:
        """Forget: it ended, well or not."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


class _Sending:
    """One upload under way.

    Attributes:
        offset: bytes that the daemon has on disk.
        place: its path at the daemon, empty before it was announced.
    """

    def __init__(self, session: Session, source: IO[bytes], size: int, memory: Memory) -> None:
        self.size = size
        self.offset = 0
        self.place = ""
        self._client = session.client
        self._source = source
        self._memory = memory

    def begin(self, said: Mapping[str, str]) -> None:
        """Go on with the upload of before where the daemon still has it; else announce one."""
        known = self._memory.recall()
        if known and self._found(known):
            self.place = known
            talk(f"Going on from {human_bytes(self.offset)} of {human_bytes(self.size)}.")
            return
        metadata = ",".join(
            f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in said.items()
        )
        headers = {**TUS, "Upload-Length": str(self.size), "Upload-Metadata": metadata}
        created = self._client.request("POST", "/v1/uploads", headers=headers)
        self.place = created.headers["Location"]
        self._memory.keep(self.place, said["filename"])

    def piece(self, show: Bar) -> None:
        """Send the next piece; after a break ask how far the daemon got."""
        length = min(PIECE_BYTES, self.size - self.offset)
        headers = {
            **TUS,
            "Upload-Offset": str(self.offset),
            "Content-Type": "application/offset+octet-stream",
            "Content-Length": str(length),
        }
        try:
            sent = self._client.request(
                "PATCH",
                self.place,
                content=self._read(self.offset, length, show),
                headers=headers,
                timeout=reading_upload(),
            )
        except CliError as error:
            if not (_passing(error) or error.code == "wrong_offset"):
                raise
            show.say("waiting for the daemon")
            sent = self._patiently("HEAD")
            show.say("uploading")
        self.offset = int(sent.headers["Upload-Offset"])
        show.at(self.offset)

    def outcome(self) -> tuple[dict[str, Any], bool]:
        """Wait until the daemon has read the data; returns the dataset.

        Raises:
            CliError: the data is not usable.
        """
        pause = 0.05
        while (upload := self._patiently("GET").json())["state"] not in {"done", "failed"}:
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE_S)
        self._memory.forget()
        if upload["state"] == "failed":
            raise _refusal(upload["failure"])
        made: dict[str, Any] = self._client.get(f"/v1/datasets/{segment(upload['dataset_id'])}")
        return made, upload["replayed"]

    def _found(self, place: str) -> bool:
        try:
            self.offset = int(self._patiently("HEAD", place).headers["Upload-Offset"])
        except CliError as error:
            if error.exit_code is not Exit.NOT_FOUND:
                raise
            return False
        return True

    def _patiently(self, method: str, place: str = "") -> httpx2.Response:
        """Ask until the daemon answers, through a restart of it."""
        until = time.monotonic() + RECONNECT_FOR_S
        while True:
            try:
                return self._client.request(method, place or self.place, headers=TUS)
            except CliError as error:
                if not _passing(error) or time.monotonic() > until:
                    raise
            time.sleep(1.0)

    def _read(self, offset: int, length: int, show: Bar) -> Iterator[bytes]:
        self._source.seek(offset)
        end = offset + length
        while offset < end:
            chunk = self._source.read(min(CHUNK, end - offset))
            if not chunk:
                raise CliError(
                    "The file became shorter while it was sent.",
                    Exit.USAGE,
                    next_step="Send it again once nobody writes to it.",
                )
            yield chunk
            offset += len(chunk)
            show.at(offset)


@contextlib.contextmanager
def _resumable(sending: _Sending) -> Iterator[None]:
    """Say in every error that leaves the upload where it is how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        raise CliError(
            f"Interrupted with {human_bytes(sending.offset)} of {human_bytes(sending.size)} sent.",
            Exit.INTERRUPTED,
            next_step="The same command again goes on from there.",
        ) from None
    except CliError as error:
        if sending.place and _passing(error):
            error.next_step = f"{error.next_step} The same command again goes on from there."
        raise


def _passing(error: CliError) -> bool:
    """Whether the same request may do later."""
    return error.exit_code is Exit.UNREACHABLE or error.problem.get("status") == TOO_MANY_REQUESTS


def _refusal(failure: Mapping[str, Any]) -> CliError:
    return CliError(
        failure["message"],
        Exit.REJECTED,
        where=[field_line(one) for one in failure["errors"]],
        next_step=with_commands(failure["hint"]),
        code=failure["code"],
        problem=failure,
    )
