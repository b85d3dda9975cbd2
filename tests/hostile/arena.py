"""Where attacks take place: one backend, and what the host puts up to be found."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from attack import Attack, Outcome
from trainbox.blobs import BlobStore
from trainbox.disks import Disks, DiskSize
from trainbox.engine.outputs import OutputRefused, collect
from trainbox_guest.protocol import GuestSpec
from trainbox_sdk.backends import Observation, SandboxBackend, SandboxSpec
from trainbox_sdk.errors import BackendRejected, BackendUnavailable
from trainbox_sdk.tasks import Output
from trainbox_sdk.testing.backend import MakeSpec
from trainbox_sdk.testing.guest_programs import Program
from trainbox_sdk.testing.guest_runs import stage_packages

GUEST = Path(__file__).with_name("guest")
PATIENCE_S = 90.0
IPC_RMID = 0
_libc = ctypes.CDLL(None, use_errno=True)
OUTPUT_BYTES = 64 * 1024**2
MOST_ENTRIES = 2000
AT_ONCE = 3
"""Sandboxes that are attacked side by side; most of their time goes into starts and ends."""


NewArena = Callable[..., AbstractAsyncContextManager["Arena"]]


class Lures:
    """What the host has put up: listeners, a neighbour's data, the daemon's files, a secret.

    Args:
        folder: of the host, where any user may enter.
    """

    def __init__(self, folder: Path) -> None:
        self.token = f"neighbour-{uuid.uuid4().hex[:12]}"
        neighbour = folder / self.token
        neighbour.mkdir()
        self._open(neighbour, 0o755)
        (neighbour / f"{self.token}.parquet").write_text("their data")
        (neighbour / "model.onnx").write_text("their model")
        state = folder / "state"
        state.mkdir()
        (state / "trainbox.sqlite").write_text("everything")
        (state / "token").write_text("secret")
        self.secret = folder / "secret"
        self.secret.write_text("untouched")
        self.marker = f"/tmp/marker-{uuid.uuid4().hex}"
        self.abstract = f"trainbox-{uuid.uuid4().hex}"
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._udp.setblocking(False)
        self._tcp = socket.create_server(("127.0.0.1", 0))
        self._tcp.setblocking(False)
        self._by_path = socket.socket(socket.AF_UNIX)
        path = str(folder / "host.sock")
        self._by_path.bind(path)
        os.chmod(path, 0o777)
        self._by_path.listen()
        self._by_name = socket.socket(socket.AF_UNIX)
        self._by_name.bind("\0" + self.abstract)
        self._by_name.listen()
        key = uuid.uuid4().int & 0x7FFFFFFF
        self._segment = _libc.shmget(key, 4096, 0o1666)
        assert self._segment >= 0
        self.told: dict[str, Any] = {
            "token": self.token,
            "neighbour": [str(neighbour / f"{self.token}.parquet"), str(neighbour / "model.onnx")],
            "daemon_files": [str(state / "trainbox.sqlite"), str(state / "token")],
            "daemon_pid": os.getpid(),
            "secret": str(self.secret),
            "marker": self.marker,
            "abstract": self.abstract,
            "socket": path,
            "udp": self._udp.getsockname()[1],
            "tcp": self._tcp.getsockname()[1],
            "engine": "/var/run/docker.sock",
            "shm_key": key,
            "own_key": key ^ 0x55,
        }

    @staticmethod
    def _open(path: Path, mode: int) -> None:
        path.chmod(mode)

    def heard(self) -> list[str]:
        """Return what reached a listener."""
        found = []
        for name, listen in (
            ("udp", lambda: self._udp.recv(16)),
            ("tcp", lambda: self._tcp.accept()),
        ):
            try:
                listen()
            except BlockingIOError:
                continue
            found.append(name)
        return found

    def close(self) -> None:
        for one in (self._udp, self._tcp, self._by_path, self._by_name):
            one.close()
        _libc.shmctl(self._segment, IPC_RMID, None)


@dataclass
class Arena:
    """One backend under attack.

    Attributes:
        kind: how it is called in the table.
        start: ``cold`` or ``warm``: how its sandboxes must have started.
        disks: where file systems of fixed size are made for it; None where it cannot see them.
    """

    kind: str
    backend: SandboxBackend
    make: MakeSpec
    lures: Lures
    blobs: BlobStore
    start: str = ""
    disks: Path | None = None
    _rooms: dict[int, Disks] = field(default_factory=dict)

    def spec(self, attacks: Sequence[Attack], limits: Any, env: Mapping[str, str]) -> SandboxSpec:
        """Make the spec of a sandbox that tries these attacks as a step of a job."""
        spec = self.make(Program(""), limits=limits, env=env, dataset=b"the data")
        spec = self._sized(replace(spec, argv=("-m", "trainbox_guest.main")))
        stage_packages((), spec.paths.code)
        for path in GUEST.glob("*.py"):
            shutil.copy(path, spec.paths.code)
        told = GuestSpec(
            entry="attack_main:run",
            task="attack",
            params={"attacks": [attack.name for attack in attacks], "told": self.lures.told},
        )
        spec.paths.spec.write_text(told.to_json())
        return spec

    def _sized(self, spec: SandboxSpec) -> SandboxSpec:
        """Put what it may write on a file system of its own, as the daemon does where it can."""
        if self.disks is None:
            return spec
        room = self._rooms.get(spec.limits.output_bytes)
        if room is None:
            size = DiskSize(spec.limits.output_bytes, MOST_ENTRIES)
            room = Disks(self.disks / str(size.bytes), size, ready=0)
            room.open()
            assert not room.trouble, room.trouble
            self._rooms[size.bytes] = room
        folder = room.mount(spec.ref.attempt_id)
        paths = replace(
            spec.paths,
            output=folder / "output",
            scratch=folder / "scratch",
            events=folder / "events.jsonl",
        )
        for path in (paths.output, paths.scratch):
            path.mkdir()
        paths.events.touch()
        return replace(spec, paths=paths, disk_is_sized=True)

    def close(self) -> None:
        """Take down what was put up."""
        self.lures.close()
        for room in self._rooms.values():
            for key in room.keys():
                room.discard(key)
            room.close()

    async def run(self, spec: SandboxSpec, stop: float | None = None) -> Observation:
        """Run a sandbox to its end, and forget it."""
        async with asyncio.timeout(PATIENCE_S):
            await self.backend.prepare(spec)
            await self.backend.start(spec)
            if stop is not None:
                while b"ready" not in spec.paths.events.read_bytes():
                    await asyncio.sleep(0.01)
                with contextlib.suppress(BackendUnavailable):  # dead in the same moment
                    await self.backend.stop(spec.ref, stop)
            seen = await self.backend.wait(spec)
            await self.backend.remove(spec.ref)
        assert not self.start or seen.confinement.get("start") == self.start, seen
        return seen

    async def try_alone(self, attack: Attack) -> Outcome | None:
        """Try one attack in a sandbox of its own; None where the backend refuses the request."""
        spec = self.spec([attack], attack.limits, attack.env)
        try:
            seen = await self.run(spec, attack.stop)
            if attack.twice:
                again = self.spec([attack], attack.limits, attack.env)
                again = replace(again, paths=replace(again.paths, scratch=spec.paths.scratch))
                spec, seen = again, await self.run(again)
        except BackendRejected:
            return None
        told = {**self.lures.told, "heard": self.lures.heard}
        told["most_entries"] = MOST_ENTRIES
        told["collected"] = await self.collect(spec.paths.output)
        return Outcome(_answers(spec).get(attack.name), seen, spec, told)

    async def try_together(self, attacks: Sequence[Attack], limits: Any) -> dict[str, Outcome]:
        """Try attacks one after the other in one sandbox, each in a process of its own."""
        spec = self.spec(attacks, limits, {})
        seen = await self.run(spec)
        found = _answers(spec)
        last = list(found)[-1:]
        log = spec.paths.log.read_text(errors="replace")[-2000:]
        assert seen.exit_code == 0 and len(found) == len(attacks), (seen, last, log)
        told = {**self.lures.told, "heard": self.lures.heard}
        return {a.name: Outcome(found[a.name], seen, spec, told) for a in attacks}

    async def collect(self, folder: Path) -> dict[str, int]:
        """Collect each name at the top of an output as the daemon would; name to bytes."""
        taken = {}
        for name in os.listdir(folder)[:100]:
            try:
                made = await collect(folder, [Output(name, max_bytes=OUTPUT_BYTES)], self.blobs)
            except OutputRefused:
                continue
            except (ValueError, OSError):  # a name no output can be declared with
                continue
            taken[name] = made.artifacts[0].bytes
        return taken

    def begin(self, attacks: Sequence[Attack]) -> dict[str, asyncio.Task[Outcome | None]]:
        """Start attacks that need a sandbox each, a few at a time."""
        turns = asyncio.Semaphore(AT_ONCE)

        async def in_turn(attack: Attack) -> Outcome | None:
            async with turns:
                return await self.try_alone(attack)

        return {attack.name: asyncio.create_task(in_turn(attack)) for attack in attacks}


def _answers(spec: SandboxSpec) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((spec.paths.scratch / "done-attacks.json").read_text())
    except FileNotFoundError:
        return {}
    return found
