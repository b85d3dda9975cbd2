"""``trainbox models promote|rollback|alias|unalias|aliases|history``: which version is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import click

from trainbox.cli.consent import dry_run_option
from trainbox.cli.output import output_option, print_items
from trainbox.cli.render import print_json, talk
from trainbox.cli.session import Session, Verb, pass_session
from trainbox.cli.urls import segment

F = TypeVar("F", bound=Callable[..., Any])
CHAMPION = "champion"


def _moving(verb: F) -> F:
    """Give a verb what every move of an alias takes."""
    reason = click.option("--reason", default="", help="Why; kept in the alias's history.")
    expected = click.option(
        "--expect",
        "expected",
        type=click.IntRange(0),
        metavar="VERSION",
        help="Only if it points there now; 0 for nowhere.",
    )
    return dry_run_option(expected(reason(verb)))


_alias_option = click.option("--alias", default=CHAMPION, show_default=True, help="Which word.")


@click.command("promote", cls=Verb)
@click.argument("model")
@_alias_option
@_moving
@pass_session
def promote(
    session: Session, *, model: str, alias: str, reason: str, expected: int | None, dry_run: bool
) -> None:
    """Point an alias at this version, which is loaded first: no request is dropped."""
    found = session.client.get(f"/v1/models/{segment(model)}")
    body = _body(reason, expected) | {"version": found["version"], "alias": alias}
    if dry_run:
        _print_plan(session, found["name"], alias, found["version"])
        return
    path = f"/v1/models/{segment(found['name'])}/promote"
    _print_move(session, session.client.post(path, body))


@click.command("rollback", cls=Verb)
@click.argument("name")
@_alias_option
@_moving
@pass_session
def rollback(
    session: Session, *, name: str, alias: str, reason: str, expected: int | None, dry_run: bool
) -> None:
    """Point an alias of NAME at the version before."""
    path = f"/v1/models/{segment(name)}"
    if dry_run:
        # Which version that is, the daemon knows from the whole history: nothing is guessed here.
        now = _points_at(session, name, alias)
        _print_plan(session, name, alias, "the version before", now)
        return
    body = _body(reason, expected) | {"alias": alias}
    _print_move(session, session.client.post(f"{path}/rollback", body))


@click.command("alias", cls=Verb)
@click.argument("model")
@click.argument("alias")
@_moving
@pass_session
def alias(
    session: Session, *, model: str, alias: str, reason: str, expected: int | None, dry_run: bool
) -> None:
    """Point ALIAS of the model's name at this version; as 'promote --alias'."""
    found = session.client.get(f"/v1/models/{segment(model)}")
    if dry_run:
        _print_plan(session, found["name"], alias, found["version"])
        return
    path = f"/v1/models/{segment(found['name'])}/aliases/{segment(alias)}"
    body = _body(reason, expected) | {"version": found["version"]}
    _print_move(session, session.client.put(path, body))


@click.command("unalias", cls=Verb)
@click.argument("name")
@click.argument("alias")
@_moving
@pass_session
def unalias(
    session: Session, *, name: str, alias: str, reason: str, expected: int | None, dry_run: bool
) -> None:
    """Take ALIAS away from NAME; its history stays."""
    if dry_run:
        _print_plan(session, name, alias, "nothing", _points_at(session, name, alias))
        return
    path = f"/v1/models/{segment(name)}/aliases/{segment(alias)}"
    session.client.request("DELETE", path, params=_body(reason, expected))
    if session.json:
        print_json({"name": name, "alias": alias, "version": None})
    else:
        talk(f"{name}@{alias} points nowhere.")


@click.command("aliases", cls=Verb)
@click.argument("name")
@output_option
@pass_session
def aliases(session: Session, name: str) -> None:
    """List the aliases of NAME and where they point."""
    print_items(
        session,
        session.client.get(f"/v1/models/{segment(name)}/aliases")["items"],
        (
            ("ALIAS", lambda one: one["alias"]),
            ("VERSION", lambda one: one["version"]),
            ("MODEL", lambda one: one["model_id"]),
            ("SINCE", lambda one: one["updated_at"]),
        ),
        key="model_id",
    )


@click.command("history", cls=Verb)
@click.argument("name")
@_alias_option
@output_option
@pass_session
def history(session: Session, name: str, alias: str) -> None:
    """List every move of an alias of NAME: when, who, from where to where, why."""
    path = f"/v1/models/{segment(name)}/aliases/{segment(alias)}/history"
    print_items(
        session,
        list(session.client.pages(path)),
        (
            ("AT", lambda one: one["at"]),
            ("ACT", lambda one: one["act"]),
            ("FROM", lambda one: one["from_version"]),
            ("TO", lambda one: one["to_version"]),
            ("WHO", lambda one: one["who"]),
            ("REASON", lambda one: one["reason"]),
        ),
        key="seq",
    )


def _body(reason: str, expected: int | None) -> dict[str, Any]:
    given = {"reason": reason or None, "expected_version": expected}
    return {name: value for name, value in given.items() if value is not None}


def _points_at(session: Session, name: str, alias: str) -> int:
    found: Mapping[str, Any] = session.client.get(f"/v1/models/{segment(f'{name}@{alias}')}")
    version: int = found["version"]
    return version


def _print_plan(
    session: Session, name: str, alias: str, to: object, now: int | None = None
) -> None:
    if session.json:
        print_json({"dry_run": True, "name": name, "alias": alias, "from": now, "to": to})
        return
    goes = f"from version {now} to" if now else "to"
    click.echo(f"{name}@{alias} would go {goes} {f'version {to}' if isinstance(to, int) else to}.")


def _print_move(session: Session, moved: Mapping[str, Any]) -> None:
    if session.json:
        print_json(moved)
    else:
        talk(f"{moved['name']}@{moved['alias']} is version {moved['version']}.")
