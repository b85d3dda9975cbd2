"""Names a shell is offered while a command is typed: what the daemon has, if it says so at once."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import click

if TYPE_CHECKING:
    from http.client import HTTPConnection

    from click.shell_completion import CompletionItem

ANSWER_S = 0.3
"""Longest wait for the daemon: somebody has pressed a key and looks at the line."""
MOST_BYTES = 4 * 1024 * 1024
OK = 200

Locate = Callable[[click.Context], tuple[str, str]]


class Offer(NamedTuple):
    """Where names come from.

    Attributes:
        path: of the listing.
        members: of an item that name it, the one for people first.
        about: of an item, shown beside a name by shells that can.
        files: whether a file may stand there, too.
    """

    path: str
    members: tuple[str, ...]
    about: str = ""
    files: bool = False


MODELS = Offer("/v1/models?limit=200", ("name", "id"), "task")
DATASETS = Offer("/v1/datasets?limit=200", ("name", "id"))
JOBS = Offer("/v1/jobs?limit=200", ("id",), "name")
TASKS = Offer("/v1/tasks", ("name",), "title")
ASSETS = Offer("/v1/assets?limit=200", ("id",), "filename")
OFFERS: Mapping[str, Mapping[str, Offer]] = {
    "data": {"dataset": DATASETS, "datasets": DATASETS},
    "jobs": {
        "job": JOBS,
        "jobs": JOBS,
        "job_id": JOBS,
        "first": JOBS,
        "second": JOBS,
        "task": TASKS,
        "data": DATASETS._replace(files=True),
    },
    "trainbox": {"data": DATASETS._replace(files=True)},  # of `trainbox run`
    "assets": {"asset": ASSETS, "assets": ASSETS},
    "models": {
        "model": MODELS,
        "name": MODELS._replace(members=("name",)),
        "model_id": Offer("/v1/models?trashed=true&limit=200", ("id",), "name"),
    },
    "tasks": {"task": TASKS, "name": TASKS},
    "plugins": {"name": Offer("/v1/plugins", ("name",), "status")},
    "tokens": {"token_id": Offer("/v1/tokens?limit=200", ("id",), "name")},
    "webhooks": {"webhook": Offer("/v1/webhooks?limit=200", ("id",), "url")},
}
"""By the noun of a command and the name of its parameter."""
NAMES = frozenset(name for each in OFFERS.values() for name in each)


class Named(click.types.StringParamType):
    """Text that names something the daemon has.

    Args:
        locate: returns URL and token for a command line that is being typed.
    """

    def __init__(self, locate: Locate) -> None:
        self._locate = locate

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what may stand there; nothing where the daemon does not answer at once."""
        from click.shell_completion import CompletionItem

        noun = ctx.parent.info_name if ctx.parent else ""
        offer = OFFERS.get(noun or "", {}).get(param.name or "")
        if offer is None:
            return []
        found = (
            [] if offer.files and "/" in incomplete else list(self._found(ctx, offer, incomplete))
        )
        if offer.files and not found:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(_typed(name), help=about or None) for name, about in found]

    def _found(
        self, ctx: click.Context, offer: Offer, incomplete: str
    ) -> Iterator[tuple[str, str]]:
        try:
            items = _items(*self._locate(ctx), offer.path)
        except Exception:  # noqa: BLE001 - whatever is wrong, a half-typed line must not print it
            return
        seen: set[str] = set()
        for item in items:
            for name in _names(item, offer, incomplete):
                if name not in seen and name.isprintable():
                    seen.add(name)
                    yield name, str(item.get(offer.about) or "")


def _typed(name: str) -> str:
    """Return a name as it is typed: zsh and fish quote what they insert, bash does not."""
    return shlex.quote(name) if os.environ.get("_TRAINBOX_COMPLETE") == "bash_complete" else name


def complete_names(params: list[click.Parameter], locate: Locate) -> None:
    """Have text that names something completed with names."""
    for param in params:
        if param.type is click.STRING and param.name in NAMES:
            param.type = Named(locate)


def _names(item: Mapping[str, Any], offer: Offer, incomplete: str) -> Iterator[str]:
    for at, member in enumerate(offer.members):
        name = item.get(member) or ""
        # Ids are offered beside names only once an id is being typed.
        if name.startswith(incomplete) and (at == 0 or incomplete):
            yield name


def _items(url: str, token: str, path: str) -> list[Mapping[str, Any]]:
    connection = _connection(url)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        if answer.status != OK:
            return []
        items: list[Mapping[str, Any]] = json.loads(answer.read(MOST_BYTES))["items"]
        return items
    finally:
        connection.close()


def _connection(url: str) -> HTTPConnection:
    """Return a connection of the standard library: httpx2 takes longer to import than to ask."""
    import socket
    from http import client

    parts = urlsplit(url)
    if parts.scheme == "unix":
        connection = client.HTTPConnection("localhost", timeout=ANSWER_S)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(ANSWER_S)
        connection.sock.connect(parts.path)
        return connection
    kind = client.HTTPSConnection if parts.scheme == "https" else client.HTTPConnection
    return kind(parts.hostname or "localhost", parts.port, timeout=ANSWER_S)
