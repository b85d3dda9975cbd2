"""A fixed path beside a variable one, such as ``/jobs/compare`` beside ``/jobs/{id}``.

aiohttp lets a method that the fixed path lacks fall through to the variable one, so that
``DELETE /jobs/compare`` would look for a job called compare, and ``Allow`` would name methods of
both. Here a fixed path is what it says and nothing else.
"""

from __future__ import annotations

from collections import defaultdict

from aiohttp import web

from trainbox_sdk.surfaces import Handler


def keep_fixed_paths(app: web.Application) -> None:
    """Have every fixed path that a variable one matches too refuse the methods it lacks."""
    methods: dict[str, set[str]] = defaultdict(set)
    variable = [one for one in app.router.resources() if isinstance(one, web.DynamicResource)]
    for resource in app.router.resources():
        if isinstance(resource, web.PlainResource):
            methods[resource.canonical] |= {route.method for route in resource}
    for path, own in methods.items():
        matching = [one for one in variable if one._match(path) is not None]  # noqa: SLF001
        others = {route.method for one in matching for route in one}
        for method in sorted(others - own):
            app.router.add_route(method, path, _refuse(method, own))


def _refuse(method: str, allowed: set[str]) -> Handler:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(method, sorted(allowed))

    return refuse
