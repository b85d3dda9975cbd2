"""The world behind the scripted backend: sandboxes that do what a script says.

Time is real and nothing runs in the background: where a sandbox stands is worked out whenever
someone looks.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainbox_guest import protocol
from trainbox_sdk.backends import Capacity, Cause, Observation, Phase, SandboxSpec
from trainbox_sdk.environments import BuiltEnvironment
from trainbox_sdk.errors import BackendUnavailable

_KILLED = 137


@dataclass(frozen=True)
class FakeScript:
    """What one sandbox does.

    Attributes:
        run_for_s: seconds it runs; None for ever.
        waits_for: a file name in the scratch directory: it runs until that exists, then
            ``run_for_s`` more.
        stdout, stderr: printed at the start.
        last_words: printed at the end, unless it was killed.
        events: lines it appends to its events file at the start.
        outputs: files it leaves when it ends by itself, by name.
        result: the facts of ``result.json``; None for no such file.
        term_exit_code: its exit code after SIGTERM; None for one that ignores it.
        out_of_memory: the kernel kills it when its time is over.
        start_failure: why it cannot be started; empty for one that can.
        detail: the backend's sentence on its end.
        vanishes: it is gone, without an exit code, when its time is over.
        cpu_s, peak_cpus, confinement: what its backend says it saw.
    """

    exit_code: int = 0
    run_for_s: float | None = 0.0
    waits_for: str = ""
    stdout: bytes = b""
    stderr: bytes = b""
    last_words: bytes = b""
    events: tuple[bytes, ...] = ()
    outputs: Mapping[str, bytes] = field(default_factory=dict)
    result: Mapping[str, Any] | None = None
    term_exit_code: int | None = 143
    out_of_memory: bool = False
    start_failure: str = ""
    detail: str = ""
    vanishes: bool = False
    peak_memory_bytes: int | None = None
    cpu_s: float | None = None
    peak_cpus: float | None = None
    confinement: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FakeSandbox:
    """One sandbox of the fake host."""

    spec: SandboxSpec
    script: FakeScript
    phase: Phase = Phase.CREATED
    starts: int = 0
    go_at: float | None = None
    exit_code: int | None = None
    cause: Cause = Cause.NONE
    started_at: datetime | None = None
    finished_at: datetime | None = None

    def start(self) -> None:
        """Begin to run: print and report what comes first."""
        self.phase, self.starts, self.started_at = Phase.RUNNING, self.starts + 1, _now()
        _append(self.spec.paths.log, self.script.stdout + self.script.stderr, self._log_room())
        for line in self.script.events:
            _append(self.spec.paths.events, line.rstrip(b"\n") + b"\n")
        if not self.script.waits_for:
            self.go_at = time.monotonic()

    def look(self) -> None:
        """Work out where it stands now."""
        if self.phase is not Phase.RUNNING:
            return
        waits_for = self.script.waits_for
        if self.go_at is None and (self.spec.paths.scratch / waits_for).exists():
            self.go_at = time.monotonic()
        if self.go_at is None or self.script.run_for_s is None:
            return
        if time.monotonic() - self.go_at >= self.script.run_for_s:
            self._finish()

    def signal(self, *, term: bool) -> None:
        """Receive SIGTERM or SIGKILL."""
        self.look()
        if self.phase is Phase.RUNNING and not (term and self.script.term_exit_code is None):
            self._die(self.script.term_exit_code if term else _KILLED)

    def _finish(self) -> None:
        if self.script.out_of_memory:
            self._die(_KILLED)
            self.cause = Cause.OUT_OF_MEMORY
            return
        _append(self.spec.paths.log, self.script.last_words, self._log_room())
        output = self.spec.paths.output
        for name, content in self.script.outputs.items():
            (output / name).write_bytes(content)
        if self.script.result is not None:
            document = {"protocol": protocol.PROTOCOL, **self.script.result}
            (output / protocol.RESULT_NAME).write_text(json.dumps(document))
        self._die(self.script.exit_code)

    def _die(self, exit_code: int | None) -> None:
        self.phase, self.exit_code, self.finished_at = Phase.EXITED, exit_code, _now()

    def _log_room(self) -> int:
        return self.spec.limits.log_bytes

    def observation(self) -> Observation:
        """Return what a backend sees of it."""
        ended = self.phase is Phase.EXITED
        return Observation(
            self.spec.ref,
            self.phase,
            exit_code=self.exit_code,
            cause=self.cause,
            detail=self.script.detail if ended else "",
            started_at=self.started_at,
            finished_at=self.finished_at,
            peak_memory_bytes=self.script.peak_memory_bytes if ended else None,
            cpu_s=self.script.cpu_s if ended else None,
            peak_cpus=self.script.peak_cpus if ended else None,
            confinement=self.script.confinement,
        )


@dataclass
class _Rule:
    matches: Callable[[SandboxSpec], bool]
    scripts: list[FakeScript]

    def next_script(self) -> FakeScript:
        return self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]


class FakeHost:
    """The world behind fake backends.

    Attributes:
        default: what a sandbox does that no rule matches.
        sandboxes: what exists, by name.
        calls: every verb called, with the sandbox's name, in order.
        away: the engine does not answer: every verb raises ``BackendUnavailable``.
        capacity: what is given out.
        gpus: how many devices there are.
        environments: references that exist; None for "any".
    """

    def __init__(self, default: FakeScript | None = None) -> None:
        self.default = default or FakeScript()
        self.sandboxes: dict[str, FakeSandbox] = {}
        self.calls: list[tuple[str, str]] = []
        self.away = False
        self.capacity = Capacity(cpus=4.0, memory_bytes=16 * 1024**3)
        self.built: dict[str, BuiltEnvironment] = {}
        self.environments: set[str] | None = None
        self._rules: list[_Rule] = []
        self._failing: dict[str, int] = {}

    def on(
        self,
        *scripts: FakeScript,
        job_id: str = "",
        role: str = "",
        name: str = "",
        when: Callable[[SandboxSpec], bool] | None = None,
    ) -> None:
        """Script the sandboxes that match; later rules win.

        Several scripts are used one after the other, one per sandbox, the last one for ever: a job
        that fails once and then succeeds is ``on(failing, fine, job_id=...)``.
        """

        def matches(spec: SandboxSpec) -> bool:
            return (
                job_id in {"", spec.ref.job_id}
                and role in {"", spec.ref.role}
                and name in {"", spec.ref.name}
                and (when is None or when(spec))
            )

        self._rules.insert(0, _Rule(matches, list(scripts)))

    def fail_next(self, verb: str, times: int = 1) -> None:
        """Let the next calls of one verb raise ``BackendUnavailable``; nothing happens in them."""
        self._failing[verb] = times

    def script_for(self, spec: SandboxSpec) -> FakeScript:
        """Return the script of a sandbox: a rule's, its own ``params["fake"]``, or the default."""
        for rule in self._rules:
            if rule.matches(spec):
                return rule.next_script()
        return _script_in_params(spec) or self.default

    def enter(self, verb: str, name: str) -> None:
        """Record a call; raise where the engine is away."""
        self.calls.append((verb, name))
        failing = self._failing.get(verb, 0)
        if failing:
            self._failing[verb] = failing - 1
        if self.away or failing:
            raise BackendUnavailable("the fake engine is away")


def _script_in_params(spec: SandboxSpec) -> FakeScript | None:
    try:
        guest = protocol.GuestSpec.from_json(spec.paths.spec.read_text())
    except (OSError, protocol.ProtocolError):
        return None
    told = guest.params.get("fake")
    return FakeScript(**_from_json(told)) if isinstance(told, dict) else None


def _from_json(told: Mapping[str, Any]) -> dict[str, Any]:
    """Read a script from JSON, which has text where a script has bytes."""
    script = dict(told)
    for name in {"stdout", "stderr", "last_words"} & script.keys():
        script[name] = str(script[name]).encode()
    if "events" in script:
        script["events"] = tuple(str(line).encode() for line in script["events"])
    if "outputs" in script:
        script["outputs"] = {name: str(text).encode() for name, text in script["outputs"].items()}
    return script


def _append(path: Path, data: bytes, room: int | None = None) -> None:
    with path.open("ab") as file:
        left = len(data) if room is None else max(0, room - file.tell())
        file.write(data if len(data) <= left else _cut(data, left))


def _cut(data: bytes, room: int) -> bytes:
    marker = b"\n[fake: output left out here]\n"
    half = max(0, (room - len(marker)) // 2)
    return (data[:half] + marker + data[len(data) - half :])[:room]


def _now() -> datetime:
    return datetime.now(UTC)
