"""What the daemon's own routes give: liveness, readiness, metrics."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiohttp import web
from typing_extensions import TypedDict  # pydantic reads the one of typing from Python 3.12 on

from trainbox_sdk.operations import Content, Operation, Reply
from trainbox_sdk.surfaces import Route


class LiveOut(TypedDict):
    """The process answers."""

    status: str


class CheckOut(TypedDict):
    """One thing readiness depends on."""

    name: str
    ok: bool
    detail: str


class ReadyOut(TypedDict):
    """Whether work is taken, and why not."""

    status: str
    checks: list[CheckOut]


_LIVE = {200: Reply("The process answers.", (Content(LiveOut),))}
_READY = {
    200: Reply("Work is taken.", (Content(ReadyOut),)),
    503: Reply("It is not; the checks say why.", (Content(ReadyOut),)),
}
_METRICS = {200: Reply("In the text format of Prometheus.", (Content(None, "text/plain"),))}

OPERATIONS: Mapping[str, Operation] = {
    "/livez": Operation("getLiveness", "daemon", "Whether the process answers", _LIVE),
    "/healthz": Operation("getHealth", "daemon", "The same as /livez", _LIVE),
    "/readyz": Operation("getReadiness", "daemon", "Whether work is taken", _READY),
    "/metrics": Operation(
        "getMetrics",
        "daemon",
        "Metrics for Prometheus",
        _METRICS,
        problems=(401, 403),
        description="Open to this machine; others need a token with the scope read.",
    ),
}


def described(definitions: Iterable[web.RouteDef]) -> list[Route]:
    """Return the daemon's own routes with what each gives."""
    return [
        Route(one.method, one.path, one.handler, operation=OPERATIONS.get(one.path))
        for one in definitions
    ]
