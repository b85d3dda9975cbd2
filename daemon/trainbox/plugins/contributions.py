"""Collect what one plugin registers, and refuse what the daemon could not use later."""

from __future__ import annotations

import importlib.util
import inspect
import json
import re
from typing import TYPE_CHECKING, Any, TypeVar, cast

from pydantic import BaseModel

from trainbox.registry import Contribution
from trainbox_sdk.backends import SandboxBackend
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import PluginError
from trainbox_sdk.jobs import Resources
from trainbox_sdk.surfaces import Surface
from trainbox_sdk.tasks import ArtifactCheck, TaskType

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trainbox.plugins.policy import Policy

T = TypeVar("T")

NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
MAX_NAME = 64
ENVIRONMENT_NAME = re.compile(r"[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*")
"""As engines name images; ``python3.12`` is one."""
ENTRY = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
PYTHON = re.compile(r"3\.\d{1,2}")
VERBS = tuple(
    name for name, member in vars(SandboxBackend).items() if inspect.iscoroutinefunction(member)
)


def collect(plugin: str, policy: Policy) -> Contribution:
    """Call a plugin's registration hooks and check each thing it returns.

    Raises:
        PluginError: one sentence that says which thing is wrong and how.
    """

    def brought(hook: str, check: Callable[[object], T]) -> tuple[T, ...]:
        return tuple(check(thing) for thing in policy.register(plugin, hook))

    contribution = Contribution(
        plugin,
        surfaces=brought("register_surfaces", _surface),
        tasks=brought("register_tasks", _task),
        backends=brought("register_backends", _backend),
        environments=brought("register_environments", _environment),
        checks=brought("register_checks", _check),
    )
    _refuse_twice(contribution.provides())
    return contribution


def _refuse_twice(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise PluginError(f"it registers {name} twice")
        seen.add(name)


def _require(kind: str, thing: object, expected: type[object]) -> None:
    if not isinstance(thing, expected):
        raise PluginError(f"it registers {thing!r:.80} as {kind}, which is no {expected.__name__}")
    _check_name(kind, thing)


def _check_name(kind: str, thing: object) -> None:
    name = getattr(thing, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise PluginError(
            f"its {kind} {type(thing).__name__} has the name {name!r:.80}; a name is a lower-case "
            "letter, then letters, digits, - and _"
        )


def _surface(thing: object) -> Surface:
    _require("surface", thing, Surface)
    surface = cast("Surface", thing)
    prefixes = getattr(surface, "prefixes", None)
    good = isinstance(prefixes, tuple) and all(isinstance(p, str) for p in prefixes)
    if not good or not prefixes or not all(p.startswith("/") for p in prefixes):
        raise PluginError(
            f'its surface "{surface.name}" has the prefixes {prefixes!r:.80}; '
            'it needs a tuple such as ("/v1",)'
        )
    return surface


def _task(thing: object) -> TaskType:
    _require("task", thing, TaskType)
    task = cast("TaskType", thing)
    params = getattr(task, "Params", None)
    if not (isinstance(params, type) and issubclass(params, BaseModel)):
        raise PluginError(f'the Params of its task "{task.name}" are not a pydantic model')
    try:
        json.dumps(params.model_json_schema(), allow_nan=False)
    except Exception as error:  # pydantic raises several kinds, custom schema hooks any
        raise PluginError(
            f'the Params of its task "{task.name}" have no JSON Schema: {error}'
        ) from error
    if not isinstance(task.resources, Resources):
        raise PluginError(f'the resources of its task "{task.name}" are not Resources')
    return task


def _backend(thing: object) -> SandboxBackend:
    _check_name("backend", thing)
    lacking = [
        verb for verb in VERBS if not inspect.iscoroutinefunction(getattr(thing, verb, None))
    ]
    if lacking:
        name = cast("Any", thing).name
        raise PluginError(f'its backend "{name}" has no coroutine {", ".join(lacking)}')
    return cast("SandboxBackend", thing)


def _environment(thing: object) -> Environment:
    if not isinstance(thing, Environment):
        raise PluginError(f"it registers {thing!r:.80} as environment, which is no Environment")
    environment = thing
    name = environment.name if isinstance(environment.name, str) else ""
    if len(name) > MAX_NAME or not ENVIRONMENT_NAME.fullmatch(name):
        raise PluginError(
            f"its environment has the name {environment.name!r:.80}; a name is a lower-case "
            "letter, then letters and digits, with single '.', '-' or '_' between them"
        )
    if not PYTHON.fullmatch(environment.python):
        raise PluginError(
            f'its environment "{environment.name}" asks for Python {environment.python!r}; '
            "write X.Y, such as 3.11"
        )
    if not environment.requirements.is_file():
        raise PluginError(
            f'its environment "{environment.name}" has no requirements file at '
            f"{environment.requirements}"
        )
    return environment


def _check(thing: object) -> ArtifactCheck:
    _require("check", thing, ArtifactCheck)
    check = cast("ArtifactCheck", thing)
    if not ENTRY.fullmatch(check.entry):
        raise PluginError(
            f'its check "{check.name}" has the entry {check.entry!r}; write package.module:function'
        )
    for package in check.packages:
        # Only the root is looked up: looking up a module inside a package imports the package.
        if importlib.util.find_spec(package.partition(".")[0]) is None:
            raise PluginError(f'its check "{check.name}" stages {package}, which is not installed')
    return check
