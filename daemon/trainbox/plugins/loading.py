"""From an entry point to a checked plugin object. Every refusal is a ``PluginError``."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from trainbox.plugins.manifest import Listed, dotted, unknown_key
from trainbox.plugins.policy import GUARDED, described
from trainbox_sdk import API_VERSION
from trainbox_sdk.errors import PluginError
from trainbox_sdk.hooks import DECISION, NOTIFICATION, REGISTRATION

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pluggy

    from trainbox.plugins.discovery import Discovered

HOOKS = frozenset({*REGISTRATION, *DECISION, *NOTIFICATION})


def build_plugin(found: Discovered, listed: Listed, parser: pluggy.PluginManager) -> object:
    """Import, check and construct one plugin.

    Args:
        found: where to import it from.
        listed: what the manifest says of it.
        parser: knows how hook implementations are marked.

    Raises:
        PluginError: one sentence that says what is wrong.
    """
    factory = _import(found)
    _check_api(getattr(factory, "api", None), found)
    config = _config(getattr(factory, "Config", None), listed)
    try:
        plugin: object = factory() if config is None else factory(config)
        hash(plugin)  # pluggy keeps plugins in sets
    except GUARDED as error:  # a stranger's constructor may do anything
        raise PluginError(f"its constructor raised {described(error)}") from error
    _check_hooks(plugin, parser)
    return plugin


def _import(found: Discovered) -> Any:
    try:
        factory = found.load()
    except GUARDED as error:  # a stranger's import may do anything
        raise PluginError(f"importing {found.value} raised {described(error)}") from error
    if not callable(factory):
        raise PluginError(f"{found.value} is not a class, it is {factory!r:.80}")
    return factory


def _check_api(api: object, found: Discovered) -> None:
    if api is None:
        raise PluginError(f"{found.value} states no plugin API: add `api = {API_VERSION}` to it")
    if isinstance(api, bool) or not isinstance(api, int):
        raise PluginError(f"{found.value} states api = {api!r}; it must be an integer")
    if api > API_VERSION:
        raise PluginError(
            f"it needs plugin API {api} and this daemon speaks {API_VERSION}: "
            f"update trainbox, or install an older {found.distribution}"
        )
    if api < API_VERSION:
        raise PluginError(
            f"it was written for plugin API {api} and this daemon speaks {API_VERSION}: "
            f"update {found.distribution}"
        )


def _config(model: object, listed: Listed) -> BaseModel | None:
    """Return the validated configuration, None for a plugin without a ``Config``."""
    where = f'plugins.toml: plugin "{listed.name}"'
    if model is None:
        if listed.config:
            raise PluginError(f"{where} config: this plugin takes no configuration")
        return None
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise PluginError(f"its Config is not a pydantic model, it is {model!r:.80}")
    # A typing slip in the file must not pass silently; a model that wants free keys says so.
    extra = None if model.model_config.get("extra") == "allow" else "forbid"
    try:
        return model.model_validate(dict(listed.config), extra=extra)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = (_config_problem(model, item) for item in error.errors())
        raise PluginError("; ".join(f"{where} {line}" for line in lines)) from error
    except GUARDED as error:  # a validator of a stranger's may raise anything
        raise PluginError(f"{where} config: checking it raised {described(error)}") from error


def _config_problem(model: type[BaseModel], item: Mapping[str, Any]) -> str:
    loc = item["loc"]
    message = item["msg"]
    if item["type"] == "extra_forbidden":
        message = unknown_key(str(loc[-1]), model.model_fields if len(loc) == 1 else ())
    return f"{dotted(('config', *loc))}: {message}"


def _check_hooks(plugin: object, parser: pluggy.PluginManager) -> None:
    """Refuse what pluggy would accept and never call, or call and never await."""
    implemented = 0
    for name in dir(plugin):
        options = parser.parse_hookimpl_opts(plugin, name)
        if options is None:
            if name in HOOKS:
                raise PluginError(f"its method {name} lacks the @hookimpl mark, so nobody calls it")
            continue
        implemented += 1
        hook = options.get("specname") or name
        if hook not in HOOKS:
            near = difflib.get_close_matches(hook, sorted(HOOKS), n=1)
            hint = f"did you mean {near[0]}?" if near else f"hooks are {', '.join(sorted(HOOKS))}"
            raise PluginError(f"it implements an unknown hook {hook}: {hint}")
        _check_kind(hook, inspect.getattr_static(plugin, name), options)
    if not implemented:
        raise PluginError("it implements no hook: mark at least one method with @hookimpl")


def _check_kind(hook: str, method: object, options: Mapping[str, Any]) -> None:
    function = getattr(method, "__func__", method)
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise PluginError(f"its hook {hook} is a coroutine; hooks are plain functions")
    if options.get("wrapper") or options.get("hookwrapper"):
        raise PluginError(f"its hook {hook} is a wrapper; a plugin answers for itself alone")
