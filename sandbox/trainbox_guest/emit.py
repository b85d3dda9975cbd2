"""What training code calls to report progress, metrics and messages."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, Mapping, Optional

from trainbox_guest import protocol


class Emitter:
    """Appends event lines to one file, each in a single ``write`` so that lines never interleave.

    Args:
        path: the file behind ``TRAINBOX_EVENTS``; None drops everything (a run by hand).
    """

    def __init__(self, path: Optional[str]) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._fd = os.open(path, flags, 0o600) if path else -1

    def progress(
        self, fraction: float, *, message: str = "", eta_s: Optional[float] = None
    ) -> None:
        """Report how far the step is: ``fraction`` in [0, 1], ``eta_s`` seconds left if known."""
        data: Dict[str, Any] = {"fraction": min(max(float(fraction), 0.0), 1.0)}
        if message:
            data["message"] = message
        if eta_s is not None:
            data["eta_s"] = round(float(eta_s), 3)
        self._write("progress", data)

    def metric(
        self,
        name: str,
        value: float,
        *,
        step: Optional[int] = None,
        epoch: Optional[float] = None,
        total_epochs: Optional[float] = None,
        nth: Optional[int] = None,
        **labels: Any,
    ) -> None:
        """Report one number, at an integer ``step`` or at an epoch where it belongs to a series.

        Args:
            name: of the series.
            value: the number.
            step: of the run, from the beginning.
            epoch: likewise; may be a fraction.
            total_epochs: how many there will be.
            nth: which number of its series this is, from 0, where not all are reported.
            labels: what else tells it from others.
        """
        data: Dict[str, Any] = {"name": name, "value": float(value)}
        if step is not None:
            data["step"] = int(step)
        if epoch is not None:
            data["epoch"] = epoch
        if total_epochs is not None:
            data["total_epochs"] = total_epochs
        if nth is not None:
            data["nth"] = nth
        if labels:
            data["labels"] = labels
        self._write("metric", data)

    def message(self, text: str, *, level: str = "info") -> None:
        """Tell a person something; ``level`` is debug, info, warning or error."""
        self._write("message", {"text": text[:4000], "level": level})

    def failure(self, code: str, message: str, hint: str = "") -> None:
        """Say why the step fails; the runner calls this for every exception."""
        self._write("failure", {"code": code, "message": message[:4000], "hint": hint[:2000]})

    def _write(self, kind: str, data: Mapping[str, Any]) -> None:
        if self._fd >= 0:
            os.write(self._fd, protocol.encode_event(kind, time.time(), data))
