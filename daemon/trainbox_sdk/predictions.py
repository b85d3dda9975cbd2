"""Predictions by tensors and by whole tables: what surfaces hand in and get back.

Tensors are in the layout of the Open Inference Protocol's binary extension: numbers little-endian
one after the other, texts (``BYTES``) each behind its length as four little-endian bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trainbox_sdk.artifacts import ModelView

Datatype = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
    "FP16", "FP32", "FP64", "BYTES",
]  # fmt: skip
"""Element types of the Open Inference Protocol."""


@dataclass(frozen=True)
class TensorSpec:
    """What a model takes or gives under one name; -1 in ``shape`` is the number of rows."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named tensor: ``raw`` in the binary layout, or ``values`` as JSON values.

    Attributes:
        datatype: as the caller wrote it; the engine says what is wrong with it.
        shape: likewise.
        raw: the bytes, or None where ``values`` holds them.
        values: flat, or nested as ``shape`` says.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    raw: bytes | memoryview | None = None
    values: Sequence[Any] | None = None


@dataclass(frozen=True, slots=True)
class InferRequest:
    """Tensors for a model.

    Attributes:
        model: id, ``name``, ``name:version`` or ``name@alias``.
        inputs: one tensor per input of the model, ``[n]`` or ``[n, 1]``, all with the same n.
        outputs: names wanted, in this order; None for all.
    """

    model: str
    inputs: Sequence[Tensor]
    outputs: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class InferResult:
    """What a model said: tensors with ``raw`` set."""

    model: ModelView
    outputs: Sequence[Tensor]


TableFormat = Literal["csv", "arrow", "parquet"]


@dataclass(frozen=True, slots=True)
class TableRequest:
    """A whole table to predict.

    Attributes:
        format: ``arrow`` is an IPC stream or file.
        data: the file's bytes; they are opened in a confined worker.
        ignore_extra: leave out columns the model does not know, rather than refuse them.
    """

    model: str
    format: TableFormat
    data: bytes
    ignore_extra: bool = False


@dataclass(frozen=True)
class ServedModel:
    """A model that a worker has loaded, and what its file takes and gives."""

    model: ModelView
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
