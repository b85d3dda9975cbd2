"""The words of ``/v1/catalogue``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_plugins.native.jobs.wire import ResourcesOut


class TaskOut(TypedDict):
    """A task type."""

    name: str
    title: str
    description: str
    params_schema: Mapping[str, Any]
    needs_dataset: bool
    resources: ResourcesOut
    plugin: str


class PluginOut(TypedDict):
    """One line of the plugin list."""

    name: str
    distribution: str
    version: str
    status: str
    required: bool
    provides: Sequence[str]
    error: str
    health: str
