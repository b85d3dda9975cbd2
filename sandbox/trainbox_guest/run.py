"""The one object a step's entry function receives."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Mapping, Optional

from trainbox_guest import protocol
from trainbox_guest.emit import Emitter


class GuestError(Exception):
    """An expected failure: the input cannot be trained on, and this says why and what to do.

    Args:
        code: short machine word, such as ``parity_failed``.
        message: what is wrong and where.
        hint: how to fix it.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


@dataclass(frozen=True)
class Run:
    """One step as the guest sees it: what to do, where the data lies, where results go."""

    spec: protocol.GuestSpec
    dataset: Optional[Path]
    output_path: Path
    scratch_path: Path
    emit: Emitter
    inputs: Optional[Path] = None

    @property
    def dataset_path(self) -> Path:
        """Where the data lies.

        Raises:
            GuestError: this step was given none.
        """
        if self.dataset is None:
            raise GuestError("no_dataset", "this step has no dataset", "submit the job with one")
        return self.dataset

    def input_path(self, name: str) -> Path:
        """Return where an input lies, such as ``train.model.onnx`` of the step ``train``.

        Raises:
            GuestError: this step was not given it; the message lists what it was given.
        """
        if self.inputs is None or name not in self.spec.inputs:
            given = ", ".join(self.spec.inputs) or "none"
            raise GuestError("no_input", f"no input {name!r}; this step was given {given}")
        return self.inputs / name

    @property
    def params(self) -> Dict[str, Any]:
        """The task's parameters."""
        return self.spec.params

    @property
    def task(self) -> str:
        """The task type's name."""
        return self.spec.task

    @property
    def job(self) -> Dict[str, Any]:
        """Facts about the job (see :class:`~trainbox_guest.protocol.GuestSpec`)."""
        return self.spec.job

    @property
    def cpus(self) -> float:
        """CPU quota in cores."""
        return self.spec.cpus

    @property
    def memory_bytes(self) -> int:
        """Memory limit in bytes."""
        return self.spec.memory_bytes

    def result(self, facts: Mapping[str, Any]) -> None:
        """Write ``result.json``, the last thing a successful step does.

        Args:
            facts: ``metrics`` (name to number), ``signature`` and whatever else the task reports.

        Raises:
            protocol.ProtocolError: larger than :data:`~trainbox_guest.protocol.MAX_RESULT_BYTES`.
        """
        document = {"protocol": protocol.PROTOCOL, **protocol.finite(facts)}
        text = json.dumps(document, allow_nan=False)
        if len(text) > protocol.MAX_RESULT_BYTES:
            raise protocol.ProtocolError(f"result of {len(text)} bytes is too large")
        part = self.output_path / (protocol.RESULT_NAME + ".part")
        part.write_text(text, encoding="utf-8")
        part.replace(self.output_path / protocol.RESULT_NAME)

    @classmethod
    def from_environment(cls, environ: Optional[Mapping[str, str]] = None) -> Run:
        """Build the run from the variables of the sandbox contract.

        Raises:
            protocol.ProtocolError: a variable is missing, or the spec is unreadable.
        """
        env = os.environ if environ is None else environ
        try:
            spec_text = Path(env[protocol.ENV_SPEC]).read_text(encoding="utf-8")
            output = Path(env[protocol.ENV_OUTPUT])
        except KeyError as error:
            raise protocol.ProtocolError(f"{error.args[0]} is not set") from error
        except OSError as error:
            raise protocol.ProtocolError(f"the spec cannot be read: {error}") from error
        dataset = env.get(protocol.ENV_DATASET)
        scratch = Path(env.get(protocol.ENV_SCRATCH) or output)
        emit = Emitter(env.get(protocol.ENV_EVENTS))
        spec = protocol.GuestSpec.from_json(spec_text)
        inputs = env.get(protocol.ENV_INPUTS)
        return cls(
            spec,
            Path(dataset) if dataset else None,
            output,
            scratch,
            emit,
            Path(inputs) if inputs else None,
        )
