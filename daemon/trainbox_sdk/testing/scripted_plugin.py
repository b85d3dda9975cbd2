"""A plugin for a real daemon whose jobs do what their parameters say, in milliseconds.

The daemon is the real one in its own process; only the sandbox is a script: the task ``scripted``
takes ``fake``, the fields of a :class:`~trainbox_sdk.testing.fake_host.FakeScript`, ``files``,
assets by the name its sandbox is to see, and any others.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.environments import Environment
from trainbox_sdk.hooks import hookimpl
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import Output, Plan, PlanFile, StepPlan, TaskType
from trainbox_sdk.testing.fake_backend import FakeBackend

NAME = "scripted"
ENTRY_POINTS = f"[trainbox]\n{NAME} = {__name__}:Plugin\n"
METADATA = f"Metadata-Version: 2.1\nName: trainbox-{NAME}\nVersion: 1.0\n"
PLUGINS = f"""
[[plugin]]
name = "native"
required = true

[[plugin]]
name = "{NAME}"
required = true
"""


class Params(BaseModel):
    """Whatever a test wants, beside the script and a seed."""

    model_config = ConfigDict(extra="allow")

    fake: Mapping[str, object] = {}
    files: Mapping[str, str] = {}
    seed: int = 0


class Scripted(TaskType):
    """Runs no code: its sandbox does what ``fake`` says."""

    name = NAME
    title = "Scripted"
    Params = Params
    needs_dataset: ClassVar[bool] = False
    resources = Resources(cpus=1.0, memory_bytes=1024**3, timeout_s=60.0)

    def plan(self, params: BaseModel, dataset: DatasetView | None) -> Plan:
        """Return one step, which may leave ``model.onnx`` and ``notes.txt``."""
        del dataset
        given = Params.model_validate(params.model_dump())
        step = StepPlan(
            "train",
            "trainbox_guest.run:main",
            ("trainbox_guest.run",),
            "bare",
            params=params.model_dump(),
            outputs=(
                Output("model.onnx", kind="model", required=False),
                Output("notes.txt", required=False),
            ),
            files=tuple(PlanFile(name, asset) for name, asset in given.files.items()),
        )
        return Plan((step,))


class Plugin:
    """What the entry point names."""

    api = 1

    @hookimpl
    def register_tasks(self) -> list[TaskType]:
        """Return the task."""
        return [Scripted()]

    @hookimpl
    def register_backends(self) -> list[FakeBackend]:
        """Return the backend of scripts."""
        return [FakeBackend()]

    @hookimpl
    def register_environments(self) -> list[Environment]:
        """Return an environment of nothing."""
        return [Environment("bare", "3.11", Path(__file__))]


def install(folder: Path) -> tuple[Path, dict[str, str]]:
    """Make the plugin known to a daemon; return its plugins file and variables.

    Args:
        folder: an empty directory that outlives the daemon.
    """
    info = folder / f"trainbox_{NAME}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(METADATA)
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    plugins = folder / "plugins.toml"
    plugins.write_text(PLUGINS)
    return plugins, {"PYTHONPATH": str(folder), "TRAINBOX_BACKEND": "fake"}
