"""Opens onnxruntime sessions that stay at home.

Since 1.31 official builds of onnxruntime send usage events to their vendor and keep a device id in
the home folder, unless ``ORT_DISABLE_TELEMETRY`` is set before the library starts (its Privacy.md,
"Disabling Telemetry"). So this module is the only one that imports it.
"""

from __future__ import annotations

import os
from typing import Any

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

# Someone may have imported the library before us; then this is what is left to say.
onnxruntime.disable_telemetry_events()

RUN_ERRORS: tuple[type[Exception], ...] = (
    onnxruntime_pybind11_state.Fail,
    onnxruntime_pybind11_state.InvalidArgument,
    onnxruntime_pybind11_state.RuntimeException,
)
"""What a session raises when a graph cannot run on its inputs."""

_ERRORS_ONLY = 3


def open_session(model: bytes, *, threads: int = 1) -> Any:
    """Return an ``onnxruntime.InferenceSession`` on the CPU.

    Args:
        model: serialised ONNX.
        threads: of computation; the library's own default is the host's core count, not our quota.

    Raises:
        onnxruntime exceptions: the model is malformed or needs a newer runtime.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
