"""Between the words of ``/v1/catalogue`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.catalogue import wire
from trainbox_plugins.native.jobs.translate import resources
from trainbox_sdk.engine import PluginInfo
from trainbox_sdk.tasks import TaskInfo


def task(info: TaskInfo) -> wire.TaskOut:
    """Return a task type as ``/v1`` says it."""
    return {
        "name": info.name,
        "title": info.title,
        "description": info.description,
        "params_schema": info.params_schema,
        "needs_dataset": info.needs_dataset,
        "resources": resources(info.resources),
        "plugin": info.plugin,
    }


def plugin(info: PluginInfo) -> wire.PluginOut:
    """Return a line of the plugin list as ``/v1`` says it."""
    return {
        "name": info.name,
        "distribution": info.distribution,
        "version": info.version,
        "status": info.status,
        "required": info.required,
        "provides": info.provides,
        "error": info.error,
        "health": info.health,
    }
