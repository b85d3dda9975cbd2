"""Frozen maps from names to what the plugins registered, and who brought each."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from trainbox_sdk.errors import NotFound
from trainbox_sdk.tasks import ArtifactCheck, TaskInfo, TaskType

if TYPE_CHECKING:  # the engine imports this room and must not load a web server with it
    from collections.abc import Iterable, Mapping, Sequence

    from trainbox_sdk.backends import SandboxBackend
    from trainbox_sdk.environments import Environment
    from trainbox_sdk.surfaces import Surface

KINDS = ("surface", "task", "backend", "environment", "check")


@dataclass(frozen=True)
class Contribution:
    """All that one plugin brings, checked item by item."""

    plugin: str
    surfaces: tuple[Surface, ...] = ()
    tasks: tuple[TaskType, ...] = ()
    backends: tuple[SandboxBackend, ...] = ()
    environments: tuple[Environment, ...] = ()
    checks: tuple[ArtifactCheck, ...] = ()

    def items(self) -> Iterable[tuple[str, str, Any]]:
        """Yield kind, name and object of everything."""
        groups: tuple[Sequence[Any], ...] = (
            self.surfaces,
            self.tasks,
            self.backends,
            self.environments,
            self.checks,
        )
        for kind, things in zip(KINDS, groups, strict=True):
            for thing in things:
                yield kind, thing.name, thing

    def provides(self) -> tuple[str, ...]:
        """Return ``kind:name`` of everything."""
        return tuple(f"{kind}:{name}" for kind, name, _ in self.items())


class Contributors(Protocol):
    """What :func:`build_registry` needs of the loaded plugins."""

    def contributions(self) -> Sequence[Contribution]:
        """Return what the plugins that are still loaded bring, in file order."""

    def reject(self, plugin: str, reason: str) -> None:
        """Drop a plugin with all it brought.

        Raises:
            PluginError: the plugin is required.
        """


@dataclass(frozen=True)
class Registry:
    """What this daemon knows by name.

    Attributes:
        backends: in the order of plugins.toml; the first healthy one is the default.
        owners: ``kind:name`` to the name of the plugin that brought it.
    """

    surfaces: Mapping[str, Surface] = field(default_factory=dict)
    tasks: Mapping[str, TaskType] = field(default_factory=dict)
    backends: Mapping[str, SandboxBackend] = field(default_factory=dict)
    environments: Mapping[str, Environment] = field(default_factory=dict)
    checks: Mapping[str, ArtifactCheck] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)

    def task(self, name: str) -> TaskType:
        """Return a task type.

        Raises:
            NotFound: code ``unknown_task``; the hint lists the known ones.
        """
        try:
            return self.tasks[name]
        except KeyError:
            known = ", ".join(sorted(self.tasks)) or "none"
            raise NotFound(
                f"there is no task type {name!r}", code="unknown_task", hint=f"known are {known}"
            ) from None

    def owner(self, kind: str, name: str) -> str:
        """Return the name of the plugin that brought ``kind`` ``name``."""
        return self.owners[f"{kind}:{name}"]

    def task_infos(self) -> list[TaskInfo]:
        """List the task types with their parameters' JSON Schema, by name."""
        return [self._info(name, task) for name, task in sorted(self.tasks.items())]

    def _info(self, name: str, task: TaskType) -> TaskInfo:
        return TaskInfo(
            name=name,
            title=task.title or name,
            description=inspect.cleandoc(type(task).__doc__ or ""),
            params_schema=task.Params.model_json_schema(),
            needs_dataset=task.needs_dataset,
            resources=task.resources,
            plugin=self.owner("task", name),
        )


def build_registry(plugins: Contributors) -> Registry:
    """Merge what the plugins bring.

    A plugin whose name clashes with an earlier one's, or that refers to something nobody brings,
    is rejected with everything it brought; so are then those that relied on it.

    Raises:
        PluginError: a required plugin had to be rejected.
    """
    while True:
        contributions = plugins.contributions()
        problem = _clash(contributions) or _dangling(contributions)
        if problem is None:
            return _freeze(contributions)
        plugins.reject(*problem)


def _clash(contributions: Sequence[Contribution]) -> tuple[str, str] | None:
    owners: dict[tuple[str, str], str] = {}
    for contribution in contributions:
        for kind, name, _ in contribution.items():
            first = owners.setdefault((kind, name), contribution.plugin)
            if first != contribution.plugin:
                reason = f'its {kind} "{name}" is already registered by plugin "{first}"'
                return contribution.plugin, reason
    return None


def _dangling(contributions: Sequence[Contribution]) -> tuple[str, str] | None:
    tasks = {task.name for one in contributions for task in one.tasks}
    environments = {environment.name for one in contributions for environment in one.environments}
    for one in contributions:
        for surface in one.surfaces:
            missing = sorted(set(surface.requires_tasks) - tasks)
            if missing:
                reason = f'its surface "{surface.name}" requires task "{missing[0]}", which no'
                return one.plugin, f"{reason} loaded plugin registers"
        for check in one.checks:
            if check.environment not in environments:
                reason = f'its check "{check.name}" runs in environment "{check.environment}",'
                return one.plugin, f"{reason} which no loaded plugin registers"
    return None


def _freeze(contributions: Sequence[Contribution]) -> Registry:
    maps: dict[str, dict[str, Any]] = {kind: {} for kind in KINDS}
    owners: dict[str, str] = {}
    for contribution in contributions:
        for kind, name, thing in contribution.items():
            maps[kind][name] = thing
            owners[f"{kind}:{name}"] = contribution.plugin
    surfaces, tasks, backends, environments, checks = map(MappingProxyType, maps.values())
    return Registry(surfaces, tasks, backends, environments, checks, MappingProxyType(owners))
