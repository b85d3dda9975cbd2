"""Hints of the daemon name its routes; here they name the commands that call them."""

from __future__ import annotations

import re
from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "GET /v1/jobs": "jobs ls",
    "GET /v1/jobs/{}": "jobs show {}",
    "GET /v1/jobs/{}/reproduce": "jobs reproduce {}",
    "GET /v1/jobs/{}/explain": "jobs explain {}",
    "GET /v1/jobs/{}/logs": "jobs logs {}",
    "GET /v1/jobs/{}/log-lines": "jobs logs {}",
    "GET /v1/jobs/{}/events": "jobs events {}",
    "POST /v1/jobs": "jobs submit",
    "POST /v1/jobs/{}/cancel": "jobs cancel {}",
    "POST /v1/jobs/{}/retry": "jobs retry {}",
    "DELETE /v1/jobs/{}": "jobs rm {}",
    "GET /v1/datasets": "data ls",
    "GET /v1/datasets/{}": "data show {}",
    "POST /v1/datasets": "data put",
    "POST /v1/datasets/import": "data import",
    "POST /v1/datasets/{}/restore": "data restore {}",
    "DELETE /v1/datasets/{}": "data rm {}",
    "GET /v1/assets": "assets ls",
    "GET /v1/models": "models ls",
    "GET /v1/models/{}": "models show {}",
    "GET /v1/models/{}/files": "models files {}",
    "GET /v1/models/{}/onnx": "models pull {}",
    "POST /v1/models/{}/restore": "models restore {}",
    "POST /v1/models/{}/promote": "models promote {}",
    "POST /v1/models/{}/rollback": "models rollback {}",
    "DELETE /v1/models/{}": "models rm {}",
    "GET /v1/tasks": "tasks ls",
    "GET /v1/tasks/{}": "tasks show {}",
    "GET /v1/plugins": "plugins ls",
    "GET /v1/tokens": "tokens ls",
    "POST /v1/tokens": "tokens create",
    "GET /v1/webhooks": "webhooks ls",
    "POST /v1/admin/drain": "admin drain",
    "POST /v1/admin/undrain": "admin undrain",
    "POST /v1/trash/purge": "trash purge",
}
"""The command by the route; ``{}`` stands for one name or id."""

_ROUTE = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) (/v1(?:/[\w@:.~%-]*[\w~%])+)")


def with_commands(text: str) -> str:
    """Return a hint with commands in the place of routes; a route without one stays."""
    return _ROUTE.sub(_command, text)


def _command(found: re.Match[str]) -> str:
    method, path = found.groups()
    for route, command in COMMANDS.items():
        pattern = re.escape(route).replace(r"\{\}", "([^/]+)")
        match = re.fullmatch(pattern, f"{method} {path}")
        # "/v1/datasets/import" is a route of its own, and stands before any it would match.
        if match:
            return f"'trainbox {command.format(*match.groups())}'"
    return found[0]
