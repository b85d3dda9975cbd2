"""The native surface keeps the contract that a stranger's must keep; and the contract has teeth."""

import inspect

import pytest
from aiohttp import web

from trainbox_plugins.native.plugin import Plugin
from trainbox_plugins.native.routes import NativeSurface
from trainbox_sdk.surfaces import Route
from trainbox_sdk.testing.surface import SurfaceContract


class TestNative(SurfaceContract):
    def make_surface(self):
        return NativeSurface()


def test_the_plugin_brings_the_surface():
    (surface,) = Plugin().register_surfaces()
    assert (surface.name, surface.prefixes) == ("native", ("/v1",))


class Careless(NativeSurface):
    """Breaks one promise at a time."""

    fault = ""

    def routes(self, engine):
        good = list(super().routes(engine))

        async def open_door(request):
            return web.json_response({})

        async def crash(request):
            raise RuntimeError("crash")

        extra = {
            "outside": [Route("GET", "/elsewhere", open_door)],
            "twice": [Route("GET", "/v1/jobs/{other}", open_door)],
            "plain function": [Route("GET", "/v1/x", lambda request: web.Response())],
            "open": [Route("GET", "/v1/x", open_door)],
            "crash on ids": [Route("GET", "/v1/x/{id}", crash)],
            "crash on bodies": [Route("POST", "/v1/x", crash)],
        }
        if self.fault == "asks":
            engine.tasks()
        return good + extra.get(self.fault, [])

    def error_response(self, error, request):
        if self.fault == "leaks":
            return web.Response(status=500, text=repr(error))
        if self.fault == "all 400":
            return web.json_response({"error": str(error)}, status=400)
        return super().error_response(error, request)


@pytest.mark.parametrize(
    ("fault", "test"),
    [
        ("outside", "test_it_says_who_it_is"),
        ("twice", "test_its_routes_are_distinct_coroutines_with_limits"),
        ("plain function", "test_its_routes_are_distinct_coroutines_with_limits"),
        ("asks", "test_its_table_is_the_same_each_time"),
        ("leaks", "test_a_bug_shows_nothing_of_the_inside"),
        ("all 400", "test_errors_of_the_caller_are_4xx_and_of_the_daemon_5xx"),
        ("all 400", "test_the_http_layers_refusals_keep_their_status"),
        ("open", "test_every_route_wants_credentials"),
        ("crash on ids", "test_names_of_nothing_never_break_it"),
        ("crash on bodies", "test_odd_bodies_never_break_it"),
    ],
)
@pytest.mark.filterwarnings("ignore:Bare functions:DeprecationWarning")
async def test_the_contract_catches(fault, test):
    contract = SurfaceContract()

    def make_surface():
        made = Careless()
        made.fault = fault
        return made

    contract.make_surface = make_surface
    with pytest.raises(AssertionError):
        result = getattr(contract, test)()
        if inspect.isawaitable(result):
            await result


async def test_the_contract_has_a_fault_for_every_promise():
    promises = {name for name in dir(SurfaceContract) if name.startswith("test_")}
    marks = test_the_contract_catches.pytestmark
    (cases,) = [mark.args[1] for mark in marks if mark.name == "parametrize"]
    assert {test for _, test in cases} == promises
