"""Names, who brought them, and what happens when two bring the same or one refers to nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aiohttp import web
from pydantic import BaseModel, Field

from trainbox.plugins.contributions import VERBS
from trainbox.registry import build_registry
from trainbox_sdk import API_VERSION, hookimpl
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.engine import Engine
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import NotFound, PluginError
from trainbox_sdk.jobs import Resources
from trainbox_sdk.surfaces import Route, Surface
from trainbox_sdk.tasks import ArtifactCheck, Plan, TaskType


class Params(BaseModel):
    trials: int = Field(default=20, ge=1, le=200)


class Fit(TaskType):
    """Fit something."""

    name = "fit"
    title = "A fit"
    Params = Params

    def plan(self, params: BaseModel, dataset: DatasetView | None) -> Plan:
        return Plan(())


class Web(Surface):
    name = "web"
    prefixes = ("/web",)

    def routes(self, engine: Engine) -> Sequence[Route]:
        return ()

    def error_response(self, error: Exception, request: web.Request) -> web.Response:
        return web.Response(status=500)


class Nowhere:
    """A backend with the right verbs; nothing here calls them."""

    def __init__(self, name: str = "nowhere") -> None:
        self.name = name

    def __getattr__(self, verb: str) -> Any:
        if verb not in VERBS:
            raise AttributeError(verb)

        async def run(*_: Any) -> None: ...

        return run


def named(kind: type, name: Any, **members: Any) -> Any:
    return type(kind.__name__, (kind,), {"name": name, **members})()


def plugin(**brought: list[Any]) -> type:
    """Return a plugin class that registers ``tasks=[…]``, ``checks=[…]`` and so on."""

    def hook(things: list[Any]) -> Any:
        @hookimpl
        def register(self: Any) -> list[Any]:
            return things

        return register

    members = {f"register_{kind}": hook(things) for kind, things in brought.items()}
    return type("Plugin", (), {"api": API_VERSION, **members})


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "requirements.lock"
    path.write_text("")
    return path


def environment(lock: Path, name: str = "small") -> Environment:
    return Environment(name, "3.11", lock)


def check(name: str = "onnx", env: str = "small") -> ArtifactCheck:
    return ArtifactCheck(name, "json.tool:main", ("json",), env)


# --- what is there


def test_everything_is_found_by_name_with_who_brought_it(loader: Any, lock: Path) -> None:
    backend = Nowhere()
    loader.add("one", plugin(tasks=[Fit()], environments=[environment(lock)]))
    loader.add("two", plugin(surfaces=[Web()], backends=[backend], checks=[check()]))
    loaded = loader.load()
    registry = build_registry(loaded)
    assert isinstance(registry.task("fit"), Fit)
    assert registry.backends["nowhere"] is backend
    assert registry.owners == {
        "task:fit": "one",
        "environment:small": "one",
        "surface:web": "two",
        "backend:nowhere": "two",
        "check:onnx": "two",
    }
    assert loaded.infos()[1].provides == ("surface:web", "backend:nowhere", "check:onnx")


def test_backends_keep_the_order_of_the_file(loader: Any) -> None:
    for name in ("zeta", "alpha", "mid"):
        loader.add(name, plugin(backends=[Nowhere(name)]))
    assert list(build_registry(loader.load()).backends) == ["zeta", "alpha", "mid"]


def test_a_registry_cannot_be_changed(loader: Any) -> None:
    registry = build_registry(loader.add("one", plugin(tasks=[Fit()])).load())
    with pytest.raises(TypeError):
        registry.tasks["other"] = Fit()  # type: ignore[index]
    with pytest.raises(AttributeError):
        registry.tasks = {}  # type: ignore[misc]


def test_an_unknown_task_is_answered_with_the_known_ones(loader: Any) -> None:
    registry = build_registry(loader.add("one", plugin(tasks=[Fit()])).load())
    with pytest.raises(NotFound, match="there is no task type 'fitt'") as caught:
        registry.task("fitt")
    assert (caught.value.code, caught.value.hint) == ("unknown_task", "known are fit")


def test_task_infos_publish_the_schema(loader: Any) -> None:
    registry = build_registry(
        loader.add("one", plugin(tasks=[Fit(), named(Fit, "aaa", title="")])).load()
    )
    first, second = registry.task_infos()
    assert (first.name, first.title, second.name, second.title) == ("aaa", "aaa", "fit", "A fit")
    assert second.description == "Fit something."
    assert second.params_schema["properties"]["trials"]["maximum"] == 200
    assert (second.needs_dataset, second.resources, second.plugin) == (True, Resources(), "one")
    json.dumps(second.params_schema)
    assert first.description == ""  # not the words of the class it stems from


# --- clashes


@pytest.mark.parametrize("kind", ["surfaces", "tasks", "backends", "environments", "checks"])
def test_a_clash_names_both_parties_and_takes_back_the_later_one(
    loader: Any, lock: Path, kind: str
) -> None:
    things: dict[str, Any] = {
        "surfaces": Web(),
        "tasks": Fit(),
        "backends": Nowhere(),
        "environments": environment(lock),
        "checks": check(env="base"),
    }
    loader.add("base", plugin(environments=[environment(lock, "base")]))
    loader.add("first", plugin(**{kind: [things[kind]]}))
    extra = {"tasks": [named(Fit, "extra")]} if kind != "tasks" else {"surfaces": [Web()]}
    loader.add("second", plugin(**{kind: [things[kind]]}, **extra))
    loaded = loader.load()
    registry = build_registry(loaded)
    second = loaded.infos()[2]
    name = things[kind].name
    assert second.status == "quarantined"
    assert second.error == f'its {kind[:-1]} "{name}" is already registered by plugin "first"'
    assert registry.owner(kind[:-1], name) == "first"
    assert "second" not in registry.owners.values()
    assert not loaded.manager.has_plugin("second")


def test_a_clash_of_a_required_plugin_stops_the_start(loader: Any) -> None:
    loader.add("first", plugin(tasks=[Fit()]))
    loader.add("second", plugin(tasks=[Fit()]), required=True, distribution="sec", version="4")
    with pytest.raises(PluginError) as caught:
        build_registry(loader.load())
    assert caught.value.message == (
        'plugin "second" (sec 4) is required and cannot be loaded: '
        'its task "fit" is already registered by plugin "first"'
    )


def test_the_same_name_twice_in_one_plugin_is_refused(loader: Any) -> None:
    (info,) = loader.add("one", plugin(tasks=[Fit(), Fit()])).load().infos()
    assert (info.status, info.error) == ("quarantined", "it registers task:fit twice")


# --- references


def test_a_surface_without_its_task_is_rejected(loader: Any) -> None:
    surface = named(Web, "web", requires_tasks=("fit", "absent"))
    loader.add("tasks", plugin(tasks=[Fit()])).add("web", plugin(surfaces=[surface]))
    loaded = loader.load()
    registry = build_registry(loaded)
    assert registry.surfaces == {}
    assert loaded.infos()[1].error == (
        'its surface "web" requires task "absent", which no loaded plugin registers'
    )


def test_a_surface_may_precede_its_task_in_the_file(loader: Any) -> None:
    surface = named(Web, "web", requires_tasks=("fit",))
    loader.add("web", plugin(surfaces=[surface])).add("tasks", plugin(tasks=[Fit()]))
    assert list(build_registry(loader.load()).surfaces) == ["web"]


def test_a_rejection_takes_those_along_that_relied_on_it(loader: Any) -> None:
    surface = named(Web, "web", requires_tasks=("fit",))
    loader.add("web", plugin(surfaces=[surface]))
    loader.add("tasks", plugin(tasks=[Fit()], checks=[check(env="absent")]))
    loaded = loader.load()
    registry = build_registry(loaded)
    assert [info.status for info in loaded.infos()] == ["quarantined", "quarantined"]
    assert registry.owners == {}


def test_a_check_without_its_environment_is_rejected(loader: Any) -> None:
    loaded = loader.add("one", plugin(checks=[check()])).load()
    build_registry(loaded)
    assert loaded.infos()[0].error == (
        'its check "onnx" runs in environment "small", which no loaded plugin registers'
    )


# --- things that are not what they claim


class Unschematic(BaseModel):
    model_config = {"arbitrary_types_allowed": True}
    thing: Nowhere


class Half(Nowhere):
    wait = None
    observe: ClassVar[Any] = staticmethod(lambda: {})


CLAIMS: list[tuple[str, Any, str]] = [
    ("tasks", lambda _: Fit, "as task, which is no TaskType"),
    ("tasks", lambda _: named(Fit, "Fit It"), "a name is a lower-case letter"),
    ("tasks", lambda _: named(Fit, ""), "a name is a lower-case letter"),
    ("tasks", lambda _: named(Fit, 5), "has the name 5"),
    ("tasks", lambda _: named(Fit, "x", Params=dict), 'Params of its task "x" are not a pydantic'),
    ("tasks", lambda _: named(Fit, "x", Params=Unschematic), "have no JSON Schema"),
    ("tasks", lambda _: named(Fit, "x", resources={}), "are not Resources"),
    ("surfaces", lambda _: named(Web, "w", prefixes="/w"), "needs a tuple"),
    ("surfaces", lambda _: named(Web, "w", prefixes=()), "needs a tuple"),
    ("surfaces", lambda _: named(Web, "w", prefixes=("w",)), "needs a tuple"),
    ("surfaces", lambda _: object(), "as surface, which is no Surface"),
    ("backends", lambda _: object(), "has the name None"),
    ("backends", lambda _: Half(), 'its backend "nowhere" has no coroutine'),
    ("environments", lambda lock: Environment("e", "3", lock), "write X.Y"),
    ("environments", lambda lock: Environment("e", "3.11", lock / "no"), "no requirements file"),
    ("environments", lambda _: "tabular", "as environment, which is no Environment"),
    ("checks", lambda _: ArtifactCheck("c", "nocolon", (), "e"), "write package.module:function"),
    ("checks", lambda _: ArtifactCheck("c", "a:b", ("no_such_pkg_x",), "e"), "not installed"),
]


@pytest.mark.parametrize(("kind", "make", "said"), CLAIMS)
def test_a_thing_that_is_not_what_it_claims_is_refused(
    loader: Any, lock: Path, kind: str, make: Any, said: str
) -> None:
    (info,) = loader.add("one", plugin(**{kind: [make(lock)]})).load().infos()
    assert info.status == "quarantined"
    assert said in info.error


@pytest.mark.parametrize("answer", [Fit(), "fit", {"fit": Fit()}, iter([])])
def test_a_registration_hook_returns_a_list(loader: Any, answer: Any) -> None:
    (info,) = loader.add("one", plugin(tasks=answer)).load().infos()
    assert info.status == "quarantined"
    assert "its register_tasks returned" in info.error


def test_a_registration_hook_may_return_nothing(loader: Any) -> None:
    class Plugin:
        api = API_VERSION

        @hookimpl
        def register_tasks(self) -> None:
            return None

    (info,) = loader.add("one", Plugin).load().infos()
    assert (info.status, info.provides) == ("loaded", ())
