"""From an entry point to a loaded plugin, and every way it can go wrong in between."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from trainbox.plugins import Discovered, installed_plugins, load_plugins
from trainbox.plugins.manifest import parse_manifest
from trainbox_sdk import API_VERSION, hookimpl
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import PluginError


class Quiet:
    """A plugin that does nothing wrong."""

    api = API_VERSION

    @hookimpl
    def on_daemon_state(self, state: str) -> None: ...


def broken(loader: Any, factory: Any, **options: Any) -> str:
    """Load one optional plugin, check that it is quarantined, and return why."""
    loaded = loader.add("bad", factory, **options).add("good", Quiet).load()
    bad, good = loaded.infos()
    assert (bad.status, bad.provides, good.status) == ("quarantined", (), "loaded")
    assert not loaded.manager.has_plugin("bad")
    return bad.error


def variant(**members: Any) -> type:
    """Return a copy of the quiet plugin with other members."""
    return type("Plugin", (Quiet,), members)


# --- what is loaded, and in which order


def test_loads_in_file_order_and_shows_where_each_came_from(loader: Any) -> None:
    loaded = (
        loader.add("zeta", Quiet, required=True, distribution="zeta-pkg", version="3.1")
        .add("alpha", Quiet)
        .load()
    )
    assert [info.name for info in loaded.infos()] == ["zeta", "alpha"]
    zeta = loaded.infos()[0]
    assert (zeta.distribution, zeta.version, zeta.required) == ("zeta-pkg", "3.1", True)
    assert [name for name, _ in loaded.manager.list_name_plugin()] == ["zeta", "alpha"]


def test_a_plugin_that_is_not_listed_is_shown_and_never_imported(loader: Any) -> None:
    loader.add("good", Quiet)

    def explode() -> Any:
        raise AssertionError("imported")

    loader.offers.append(Discovered("stranger", "x:Plugin", "stranger-dist", "9", explode))
    stranger = loader.load().infos()[1]
    assert (stranger.name, stranger.status, stranger.error) == ("stranger", "not listed", "")
    assert (stranger.distribution, stranger.version) == ("stranger-dist", "9")


def test_real_entry_points_are_found_and_only_listed_ones_imported(
    write_distribution: Callable[..., Path],
) -> None:
    source = (
        "from trainbox_sdk import hookimpl\n"
        "class Plugin:\n"
        "    api = 1\n"
        "    @hookimpl\n"
        "    def on_daemon_state(self, state): pass\n"
    )
    write_distribution("listed-dist", "listed_module_x", source, entry="listed")
    write_distribution("other-dist", "other_module_x", "raise SystemExit(3)", entry="other")
    found = [one for one in installed_plugins() if one.distribution.endswith("-dist")]
    manifest = parse_manifest({"plugin": [{"name": "listed"}]}, Path("plugins.toml"))
    infos = load_plugins(manifest, discover=lambda: found).infos()
    assert [(one.name, one.status, one.version) for one in infos] == [
        ("listed", "loaded", "2.5"),
        ("other", "not listed", "2.5"),
    ]
    assert "listed_module_x" in sys.modules
    assert "other_module_x" not in sys.modules


def test_every_bundled_plugin_is_found_by_its_entry_point() -> None:
    bundled = {one.name for one in installed_plugins() if one.distribution == "trainbox"}
    assert bundled == {
        "native", "open_inference", "custom_training", "tabular", "custom_script", "onnx_check", "docker",
        "process",
    }  # fmt: skip


def test_two_daemons_in_one_process_share_nothing(loader: Any) -> None:
    first = loader.add("good", Quiet).load()
    second = loader.load()
    assert first.manager is not second.manager
    plugins = [one.manager.get_plugin("good") for one in (first, second)]
    assert plugins[0] is not plugins[1]


# --- missing


def test_an_optional_plugin_that_is_not_installed_is_missing(loader: Any) -> None:
    info = loader.add("hello", Quiet).list("helo").load().infos()[1]
    assert (info.name, info.status, info.distribution) == ("helo", "missing", "")
    assert 'offers "helo" in group "trainbox"; did you mean "hello"?' in info.error


def test_a_required_plugin_that_is_not_installed_stops_the_start(loader: Any) -> None:
    with pytest.raises(PluginError, match='plugin "x" is required and not installed') as caught:
        loader.list("x", required=True).load()
    assert caught.value.code == "plugin_missing"
    assert "plugins.toml" in caught.value.hint


def test_a_name_that_two_distributions_offer_is_nobodys(loader: Any) -> None:
    loader.offers.append(Discovered("bad", "x:Plugin", "other-dist", "7", lambda: Quiet))
    error = broken(loader, Quiet)
    assert error == "bad-dist 1.0 and other-dist 7 both offer this name: uninstall one of them"


# --- broken


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (ImportError("No module named 'torch'"), "ImportError: No module named 'torch'"),
        (SyntaxError("invalid syntax"), "SyntaxError: invalid syntax"),
        (SystemExit(3), "SystemExit: 3"),
        (RecursionError(), "RecursionError"),
    ],
)
def test_an_import_that_raises_is_quarantined(
    loader: Any, failure: BaseException, said: str
) -> None:
    assert broken(loader, failure) == f"importing bad_module:Plugin raised {said}"


def test_an_entry_point_to_a_missing_attribute_is_quarantined(
    write_distribution: Callable[..., Path],
) -> None:
    write_distribution("half-dist", "half_module_x", "x = 1\n", entry="half")
    found = [one for one in installed_plugins() if one.distribution == "half-dist"]
    manifest = parse_manifest({"plugin": [{"name": "half"}]}, Path("plugins.toml"))
    (info,) = load_plugins(manifest, discover=lambda: found).infos()
    assert info.status == "quarantined"
    assert "AttributeError" in info.error


def test_control_c_during_an_import_is_not_swallowed(loader: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        loader.add("bad", KeyboardInterrupt()).load()


def test_a_required_plugin_that_is_broken_stops_the_start_with_one_sentence(loader: Any) -> None:
    loader.add("bad", ImportError("boom"), required=True, distribution="bad-pkg", version="0.3")
    with pytest.raises(PluginError) as caught:
        loader.load()
    assert caught.value.message == (
        'plugin "bad" (bad-pkg 0.3) is required and cannot be loaded: '
        "importing bad_module:Plugin raised ImportError: boom"
    )
    assert caught.value.code == "plugin_broken"
    assert "required = false" in caught.value.hint


def test_a_constructor_that_raises_is_quarantined(loader: Any) -> None:
    def __init__(self: Any) -> None:
        raise ValueError("no licence")

    assert broken(loader, variant(__init__=__init__)) == (
        "its constructor raised ValueError: no licence"
    )


def test_an_entry_point_to_a_value_is_quarantined(loader: Any) -> None:
    assert "is not a class" in broken(loader, 3)


def test_an_unhashable_plugin_is_quarantined_and_does_not_break_the_others(loader: Any) -> None:
    @dataclass
    class Plugin(Quiet):
        pass

    assert "its constructor raised TypeError: unhashable" in broken(loader, Plugin)


# --- API number


@pytest.mark.parametrize(
    ("api", "said"),
    [
        (None, f"states no plugin API: add `api = {API_VERSION}` to it"),
        ("1", "states api = '1'; it must be an integer"),
        (True, "states api = True; it must be an integer"),
        (API_VERSION + 1, "update trainbox, or install an older bad-dist"),
        (API_VERSION - 1, "update bad-dist"),
    ],
)
def test_another_api_number_is_refused_with_what_to_do(loader: Any, api: Any, said: str) -> None:
    error = broken(loader, variant(api=api))
    assert error.endswith(said)


def test_the_api_number_is_checked_before_anything_of_the_plugin_runs(loader: Any) -> None:
    def __init__(self: Any) -> None:
        raise AssertionError("constructed")

    error = broken(loader, variant(api=API_VERSION + 1, __init__=__init__))
    assert error.startswith(f"it needs plugin API {API_VERSION + 1}")


# --- configuration


class Limits(BaseModel):
    rows: int = Field(default=1, ge=1)


class Config(BaseModel):
    greeting: str = "hi"
    limits: Limits = Limits()
    names: list[str] = Field(default_factory=list)


def configured(model: Any) -> type:
    def __init__(self: Any, config: Any) -> None:
        self.config = config

    return variant(Config=model, __init__=__init__)


def test_config_is_validated_and_handed_to_the_constructor(loader: Any) -> None:
    table = {"greeting": "ho", "limits": {"rows": 3}}
    loaded = loader.add("x", configured(Config), config=table).load()
    assert loaded.manager.get_plugin("x").config == Config(greeting="ho", limits=Limits(rows=3))


def test_a_plugin_without_a_config_table_gets_the_defaults(loader: Any) -> None:
    assert loader.add("x", configured(Config)).load().manager.get_plugin("x").config == Config()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"greetng": "x"}, 'config.greetng: unknown key; did you mean "greeting"?'),
        ({"limits": {"rows": 0}}, "config.limits.rows: Input should be greater than or equal to 1"),
        ({"limits": {"row": 1}}, "config.limits.row: unknown key"),
        ({"names": ["a", 5]}, "config.names[1]: Input should be a valid string"),
        ({"greeting": 5}, "config.greeting: Input should be a valid string"),
    ],
)
def test_bad_config_is_quoted_with_its_full_path(
    loader: Any, table: dict[str, Any], said: str
) -> None:
    error = broken(loader, configured(Config), config=table)
    assert error == f'plugins.toml: plugin "bad" {said}'


def test_config_for_a_plugin_that_takes_none_is_refused(loader: Any) -> None:
    error = broken(loader, Quiet, config={"x": 1})
    assert error == 'plugins.toml: plugin "bad" config: this plugin takes no configuration'


def test_a_model_may_say_that_it_wants_free_keys(loader: Any) -> None:
    class Free(BaseModel):
        model_config = ConfigDict(extra="allow")

    loaded = loader.add("x", configured(Free), config={"anything": 1}).load()
    assert loaded.manager.get_plugin("x").config.anything == 1


def test_a_config_that_is_no_pydantic_model_is_quarantined(loader: Any) -> None:
    assert "its Config is not a pydantic model" in broken(loader, configured(dict))


def test_a_validator_that_crashes_is_quarantined(loader: Any) -> None:
    class Crashing(BaseModel):
        x: int = 0

        @field_validator("x")
        @classmethod
        def check(cls, value: int) -> int:
            raise ZeroDivisionError("oops")

    error = broken(loader, configured(Crashing), config={"x": 1})
    assert error == 'plugins.toml: plugin "bad" config: checking it raised ZeroDivisionError: oops'


# --- hooks


def test_a_misspelt_hook_is_refused_with_the_right_one(loader: Any) -> None:
    @hookimpl
    def register_task(self: Any) -> list[Any]:
        return []

    error = broken(loader, variant(register_task=register_task))
    assert error == "it implements an unknown hook register_task: did you mean register_tasks?"


def test_a_hook_named_like_nothing_is_refused_with_the_list(loader: Any) -> None:
    @hookimpl
    def zzz(self: Any) -> None: ...

    assert "hooks are admit, authorize, on_daemon_state" in broken(loader, variant(zzz=zzz))


def test_a_hook_under_another_method_name_counts_by_its_specname(loader: Any) -> None:
    @hookimpl(specname="on_daemon_stat")
    def hear(self: Any, state: str) -> None: ...

    assert "unknown hook on_daemon_stat" in broken(loader, variant(hear=hear))


def test_a_hook_without_the_mark_is_refused(loader: Any) -> None:
    def register_tasks(self: Any) -> list[Any]:
        return []

    error = broken(loader, variant(register_tasks=register_tasks))
    assert error == "its method register_tasks lacks the @hookimpl mark, so nobody calls it"


def test_a_coroutine_hook_is_refused(loader: Any) -> None:
    @hookimpl
    async def on_daemon_state(self: Any, state: str) -> None: ...

    error = broken(loader, variant(on_daemon_state=on_daemon_state))
    assert error == "its hook on_daemon_state is a coroutine; hooks are plain functions"


def test_a_static_coroutine_and_an_async_generator_are_refused_too(loader: Any) -> None:
    @hookimpl
    async def hear(state: str) -> Any:
        yield state

    error = broken(loader, variant(on_daemon_state=staticmethod(hear)))
    assert "is a coroutine" in error


def test_a_hook_wrapper_is_refused(loader: Any) -> None:
    @hookimpl(wrapper=True)
    def on_daemon_state(self: Any, state: str) -> Any:
        return (yield)

    assert "is a wrapper" in broken(loader, variant(on_daemon_state=on_daemon_state))


def test_a_hook_with_an_argument_nobody_gives_is_refused(loader: Any) -> None:
    @hookimpl
    def on_daemon_state(self: Any, state: str, reason: str) -> None: ...

    error = broken(loader, variant(on_daemon_state=on_daemon_state))
    assert error.startswith("its hooks cannot be registered: ")
    assert "reason" in error


def test_a_plugin_without_hooks_is_refused(loader: Any) -> None:
    class Plugin:
        api = API_VERSION

    assert broken(loader, Plugin).startswith("it implements no hook")


def test_the_same_object_under_two_names_is_refused(loader: Any) -> None:
    one = Quiet()
    one_for_all = lambda: one  # noqa: E731
    one_for_all.api = API_VERSION  # type: ignore[attr-defined]
    loaded = loader.add("first", one_for_all).add("second", one_for_all).load()
    assert [info.status for info in loaded.infos()] == ["loaded", "quarantined"]


def test_a_thing_that_raises_when_looked_at_is_quarantined(loader: Any) -> None:
    class Mine:
        @property
        def name(self) -> str:
            raise RuntimeError("boom")

        def __repr__(self) -> str:
            raise ValueError("no repr")

    @hookimpl
    def register_backends(self: Any) -> list[Any]:
        return [Mine()]

    error = broken(loader, variant(register_backends=register_backends))
    assert error.startswith("checking it raised RuntimeError: boom")


# --- quarantine undoes everything


def test_a_plugin_that_fails_late_leaves_nothing_behind(loader: Any, tmp_path: Path) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("")
    heard: list[str] = []

    class Late:
        api = API_VERSION

        @hookimpl
        def register_environments(self) -> list[Environment]:
            return [Environment("env", "3.11", lock)]

        @hookimpl
        def register_checks(self) -> list[Any]:
            raise RuntimeError("too late")

        @hookimpl
        def on_daemon_state(self, state: str) -> None:
            heard.append(state)

    loaded = loader.add("late", Late).load()
    loaded.notify_daemon_state("ready")
    assert loaded.contributions() == []
    assert heard == []
    assert loaded.infos()[0].error == "its register_checks raised RuntimeError: too late"
