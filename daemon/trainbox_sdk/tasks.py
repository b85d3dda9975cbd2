"""What a task type is: parameters, what it demands of the data, and a plan as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from pydantic import BaseModel

from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.errors import FieldError
from trainbox_sdk.jobs import Resources


@dataclass(frozen=True)
class Output:
    """One file a step must or may leave in its output directory.

    Attributes:
        name: file name, no folders.
        kind: ``model`` for the artifact a model row points at, else ``file``.
        max_bytes: larger is refused, not cut.
        check: name of the :class:`ArtifactCheck` that must accept it; None for none. Of a tree, it
            must accept each file that is an ONNX model.
        tree: it may be a file or a directory. Of a directory every regular file becomes an
            artifact ``name/<path>``; the one ONNX model among them, or else a tar of all, is the
            artifact of ``kind``.
        max_files: of a tree; more are refused.
    """

    name: str
    kind: str = "file"
    required: bool = True
    max_bytes: int = 512 * 1024**2
    media_type: str = "application/octet-stream"
    check: str | None = None
    tree: bool = False
    max_files: int = 1000


@dataclass(frozen=True)
class PlanFile:
    """A file that someone uploaded, given to a step read-only under a name of its own.

    Attributes:
        name: what it is called among the guest's inputs.
        asset: id of an :class:`~trainbox_sdk.assets.AssetView` of the job's owner.
        digest: ``sha256:<hex>`` of its bytes; filled in when the job is taken in, so that deleting
            or replacing the asset later changes nothing.
    """

    name: str
    asset: str
    digest: str = ""


@dataclass(frozen=True)
class StepPlan:
    """One sandbox run.

    Attributes:
        name: unique in the plan.
        entry: ``package.module:function`` in the guest, called with a
            :class:`~trainbox_guest.run.Run`.
        packages: import packages or modules staged into the sandbox beside ``trainbox_guest``;
            parents are staged as their ``__init__`` alone.
        environment: name of a registered :class:`~trainbox_sdk.environments.Environment`.
        params: what the guest receives; JSON-able.
        after: names of steps whose success it needs; their outputs arrive as inputs.
        trusted: False for a user's own code.
        files: uploaded files among the guest's inputs, in ``TRAINBOX_INPUTS``.
        requirements: names among ``files`` that are requirements files: they are installed on top
            of the environment before the step runs.
    """

    name: str
    entry: str
    packages: tuple[str, ...]
    environment: str
    params: Mapping[str, Any] = field(default_factory=dict)
    outputs: tuple[Output, ...] = ()
    after: tuple[str, ...] = ()
    trusted: bool = True
    files: tuple[PlanFile, ...] = ()
    requirements: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """A small directed acyclic graph of steps."""

    steps: tuple[StepPlan, ...]


class TaskType(ABC):
    """A kind of job. Subclass, set the class variables, return it from ``register_tasks``.

    ``resources`` is what a job gets that asks for nothing, or all that its backend has where that
    is less. The daemon publishes ``Params``'s JSON Schema and validates against it; heavy imports
    belong in the guest package, which runs only in the sandbox.
    """

    name: ClassVar[str]
    title: ClassVar[str] = ""
    Params: ClassVar[type[BaseModel]]
    needs_dataset: ClassVar[bool] = True
    resources: ClassVar[Resources] = Resources()
    most: ClassVar[Resources | None] = None
    """The most a caller may ask for; None leaves that to the backend."""

    def validate(self, params: BaseModel, dataset: DatasetView | None) -> Sequence[FieldError]:
        """Return what is wrong with these parameters on this data; nothing doomed is queued."""
        del params, dataset
        return ()

    @abstractmethod
    def plan(self, params: BaseModel, dataset: DatasetView | None) -> Plan:
        """Return the steps. Pure: no file is read, nothing is started."""


@dataclass(frozen=True)
class ArtifactCheck:
    """Code that looks at an artifact in a second locked sandbox before a model row exists.

    The guest finds the artifact at ``DATASET_PATH``; exit 0 and a ``result.json`` accept it.
    """

    name: str
    entry: str
    packages: tuple[str, ...]
    environment: str
    memory_bytes: int = 2 * 1024**3
    timeout_s: float = 120.0


@dataclass(frozen=True)
class TaskInfo:
    """A registered task type, for listings."""

    name: str
    title: str
    description: str
    params_schema: Mapping[str, Any]
    needs_dataset: bool
    resources: Resources
    plugin: str
