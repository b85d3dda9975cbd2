"""The frozen envelope that daemon and guest both read: spec in, events out, result last.

The daemon writes one JSON document (``TRAINBOX_SPEC`` is its path); the guest appends JSON lines to
``TRAINBOX_EVENTS`` and leaves ``result.json`` beside its declared outputs. Both ends refuse another
protocol number instead of guessing. Everything that comes out of a sandbox is hostile data: parsing
here never trusts a type.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Mapping, Optional

PROTOCOL = 1

ENV_DATASET = "DATASET_PATH"
ENV_OUTPUT = "MODEL_OUTPUT_PATH"
ENV_SPEC = "TRAINBOX_SPEC"
ENV_EVENTS = "TRAINBOX_EVENTS"
ENV_SCRATCH = "TRAINBOX_SCRATCH"
ENV_INPUTS = "TRAINBOX_INPUTS"

RESULT_NAME = "result.json"

EXIT_OK = 0
EXIT_CRASH = 1
EXIT_DATA = 65
"""The guest refused its input with a :class:`~trainbox_guest.run.GuestError` (EX_DATAERR)."""
EXIT_PROTOCOL = 78
"""The envelope itself was unreadable (EX_CONFIG)."""

EVENT_KINDS = ("progress", "metric", "message", "failure")
MAX_EVENT_BYTES = 16 * 1024
MAX_RESULT_BYTES = 4 * 1024 * 1024


class ProtocolError(ValueError):
    """An envelope that does not follow this protocol."""


@dataclass(frozen=True)
class GuestSpec:
    """What one step is asked to do.

    Attributes:
        entry: ``package.module:function`` called with a :class:`~trainbox_guest.run.Run`.
        task: task type name, such as ``regression``.
        params: the task's own parameters, already validated by the daemon.
        job: facts about the job: ``job_id``, ``step``, ``attempt``, ``dataset_id``,
            ``dataset_digest``, ``dataset_name``.
        cpus: CPU quota in cores.
        memory_bytes: memory limit in bytes.
        inputs: names of the files in the directory behind ``TRAINBOX_INPUTS``, such as
            ``train.model.onnx`` for the output ``model.onnx`` of the step ``train``.
    """

    entry: str
    task: str
    params: Dict[str, Any] = field(default_factory=dict)
    job: Dict[str, Any] = field(default_factory=dict)
    cpus: float = 1.0
    memory_bytes: int = 0
    inputs: List[str] = field(default_factory=list)
    protocol: int = PROTOCOL

    def to_json(self) -> str:
        """Return the document the guest reads."""
        return json.dumps(asdict(self), allow_nan=False, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> GuestSpec:
        """Read a document written by :meth:`to_json`.

        Raises:
            ProtocolError: not JSON, not an object, another protocol, or a field missing.
        """
        try:
            raw = json.loads(text)
        except ValueError as error:
            raise ProtocolError(f"the spec is not JSON: {error}") from error
        if not isinstance(raw, dict):
            raise ProtocolError("the spec is not a JSON object")
        if raw.get("protocol") != PROTOCOL:
            raise ProtocolError(
                f"the spec speaks protocol {raw.get('protocol')!r}, this guest speaks {PROTOCOL}"
            )
        known = {name: raw[name] for name in cls.__dataclass_fields__ if name in raw}
        try:
            return cls(**known)
        except TypeError as error:
            raise ProtocolError(f"the spec is incomplete: {error}") from error


def encode_event(kind: str, at: float, data: Mapping[str, Any]) -> bytes:
    """Return one event as a JSON line.

    Args:
        kind: one of :data:`EVENT_KINDS`.
        at: seconds since the epoch.
        data: JSON-able payload; NaN and infinity become null, since JSON has neither.

    Raises:
        ProtocolError: unknown kind, or a line longer than :data:`MAX_EVENT_BYTES`.
    """
    if kind not in EVENT_KINDS:
        raise ProtocolError(f"unknown event kind {kind!r}")
    line = json.dumps({"t": kind, "at": at, **finite(data)}, allow_nan=False).encode() + b"\n"
    if len(line) > MAX_EVENT_BYTES:
        raise ProtocolError(f"event of {len(line)} bytes is over {MAX_EVENT_BYTES}")
    return line


def decode_event(line: bytes) -> Optional[Dict[str, Any]]:
    """Return a line's event, or None where the guest wrote something else."""
    if len(line) > MAX_EVENT_BYTES:
        return None
    try:
        raw = finite(json.loads(line))
    except (ValueError, RecursionError):
        return None
    kind = raw.get("t") if isinstance(raw, dict) else None
    return raw if isinstance(kind, str) and kind in EVENT_KINDS else None


def finite(value: Any) -> Any:
    """Return the value with NaN and infinity, at any depth, as None: JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    return value
