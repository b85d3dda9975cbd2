"""A fixed path beside a variable one, such as ``/jobs/compare`` beside ``/jobs/{id}``.

aiohttp lets a method that the fixed path lacks fall through to the variable one, so that
``DELETE /jobs/compare`` would look for a job called compare, and ``Allow`` would name methods of
both. Here a fixed path is what it says and nothing else.
"""

from __future__ import annotations

from collections import defaultdict

from aiohttp import hdrs, web

from trainbox_sdk.surfaces import Handler


def keep_fixed_paths(app: web.Application) -> None:
    """Have every fixed path that a variable one matches too refuse the methods it lacks."""
    methods: dict[str, set[str]] = defaultdict(set)
    variable = [one for one in app.router.resources() if isinstance(one, web.DynamicResource)]
    for resource in app.router.resources():
        if isinstance(resource, web.PlainResource):
            methods[resource.canonical] |= {route.method for route in resource}
    for path, own in methods.items():
        if any(one._match(path) is not None for one in variable):  # noqa: SLF001
            app.router.add_route(hdrs.METH_ANY, path, _refuse(own))


def _refuse(allowed: set[str]) -> Handler:
    async def refuse(request: web.Request) -> web.StreamResponse:
        raise web.HTTPMethodNotAllowed(request.method, sorted(allowed))

    return refuse
