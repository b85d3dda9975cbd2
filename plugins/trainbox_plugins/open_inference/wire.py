"""The words of ``/v2``, after the protocol's ``open_inference_rest.yaml``.

A server of this protocol leaves alone what it does not know, so unknown members are ignored. What
is known and wrong is refused.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypedDict

Parameters = dict[str, Any]
DatatypeName = Literal[
    "BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64",
    "FP16", "FP32", "FP64", "BYTES",
]  # fmt: skip


class _In(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True)


class TensorIn(_In):
    """One input; its data follows the JSON where ``parameters.binary_data_size`` is given."""

    name: Annotated[str, Field(min_length=1)]
    shape: Annotated[list[int], Field(min_length=1)]
    datatype: DatatypeName
    parameters: Parameters | None = None
    data: list[Any] | None = None


class OutputIn(_In):
    """One output that is asked for."""

    name: Annotated[str, Field(min_length=1)]
    parameters: Parameters | None = None


class InferIn(_In):
    """``POST …/infer``."""

    id: str | None = None
    parameters: Parameters | None = None
    inputs: Annotated[list[TensorIn], Field(min_length=1)]
    outputs: list[OutputIn] | None = None


class IndexIn(_In):
    """``POST /v2/repository/index``."""

    ready: bool = False


class TensorOut(TypedDict):
    """One output."""

    name: str
    datatype: DatatypeName
    shape: list[int]
    parameters: NotRequired[dict[str, Any]]
    data: NotRequired[list[Any]]


class InferOut(TypedDict):
    """What ``infer`` answers."""

    model_name: str
    model_version: str
    id: NotRequired[str]
    outputs: list[TensorOut]


class SpecOut(TypedDict):
    """An input or output of a model; -1 is the number of rows."""

    name: str
    datatype: DatatypeName
    shape: list[int]


class ModelOut(TypedDict):
    """A model's metadata."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[SpecOut]
    outputs: list[SpecOut]


class ServerOut(TypedDict):
    """The server's metadata."""

    name: str
    version: str
    extensions: list[str]


class LiveOut(TypedDict):
    """Whether the server runs."""

    live: bool


class ReadyOut(TypedDict):
    """Whether the server can answer inferences."""

    ready: bool


class ModelReadyOut(TypedDict):
    """Whether a model can answer inferences."""

    name: str
    ready: bool


class IndexOut(TypedDict):
    """One line of the repository index."""

    name: str
    version: str
    state: str
    reason: str


class ErrorOut(TypedDict):
    """Why a request failed."""

    error: str
