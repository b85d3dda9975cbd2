"""``trainbox tokens``: who may do what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from trainbox.cli.consent import agree, dry_run_option, yes_option
from trainbox.cli.durations import DURATION
from trainbox.cli.output import output_option, print_items
from trainbox.cli.render import print_facts, print_json, talk
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.urls import segment

SCOPES = ("submit", "read", "predict", "admin")


@click.group(cls=Noun)
def command() -> None:
    """Make, list and end tokens; all but 'whoami' need the scope admin."""


@command.command("create")
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=click.Choice(SCOPES),
    help="What it may do; may be repeated.",
)
@click.option("--subject", help="Whose things it sees; NAME where it is left out.")
@click.option("--expires", type=DURATION, help="Ends after, such as 90d or 12h; else never.")
@pass_session
def create(
    session: Session,
    name: str,
    scopes: tuple[str, ...],
    subject: str | None,
    expires: float | None,
) -> None:
    """Make a token and print its text on stdout: it is shown this once."""
    body = {"name": name, "scopes": scopes, "subject": subject, "expires_in_s": expires}
    _print_issued(session, session.client.post("/v1/tokens", _given(body)))


@command.command("ls")
@output_option
@pass_session
def ls(session: Session) -> None:
    """List tokens, newest first, also those that have ended."""
    print_items(
        session,
        list(session.client.pages("/v1/tokens", limit=500)),
        (
            ("ID", lambda one: one["id"]),
            ("SUBJECT", lambda one: one["subject"]),
            ("NAME", lambda one: one["name"]),
            ("SCOPES", lambda one: ",".join(one["scopes"])),
            ("STATE", state),
            ("EXPIRES", lambda one: one["expires_at"]),
            ("LAST USED", lambda one: one["last_used_at"]),
        ),
    )


@command.command("show")
@click.argument("token_id", metavar="ID")
@pass_session
def show(session: Session, token_id: str) -> None:
    """Show a token, without its secret."""
    _print_token(session, session.client.get(f"/v1/tokens/{segment(token_id)}"))


@command.command("rotate")
@click.argument("token_id", metavar="ID")
@click.option(
    "--grace",
    type=DURATION,
    default=0.0,
    help="How long the secret it had stays good, such as 1h; it ends at once by default.",
)
@click.option("--expires", type=DURATION, help="Ends after, counted from now; else as it was.")
@dry_run_option
@yes_option
@pass_session
def rotate(
    session: Session,
    *,
    token_id: str,
    grace: float,
    expires: float | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Give a token a new secret and print it on stdout: it is shown this once."""
    path = f"/v1/tokens/{segment(token_id)}"
    if dry_run or not (yes or grace):
        found = session.client.get(path)
        if dry_run:
            _print_plan(session, found, "would get a new secret")
            return
        agree(session, f"End the secret of {_named(found)} at once?", yes=yes)
    body = _given({"grace_s": grace, "expires_in_s": expires})
    _print_issued(session, session.client.post(f"{path}/rotate", body))


@command.command("revoke")
@click.argument("token_id", metavar="ID")
@dry_run_option
@yes_option
@pass_session
def revoke(session: Session, token_id: str, dry_run: bool, yes: bool) -> None:
    """End a token now, for good."""
    path = f"/v1/tokens/{segment(token_id)}"
    if dry_run or not yes:
        found = session.client.get(path)
        if dry_run:
            _print_plan(session, found, "would end")
            return
        agree(session, f"End {_named(found)} for good?", yes=yes)
    ended = session.client.delete(path)
    if session.json:
        print_json(ended)
    else:
        talk(f"{_named(ended)} has ended.")


@command.command("whoami")
@pass_session
def whoami(session: Session) -> None:
    """Show the token that this command line sends."""
    _print_token(session, session.client.get("/v1/tokens/self"))


def state(token: Mapping[str, Any]) -> str:
    """Return ``revoked``, ``expired`` or ``active``."""
    from datetime import UTC, datetime

    if token["revoked_at"]:
        return "revoked"
    expires = token["expires_at"]
    return (
        "expired" if expires and datetime.fromisoformat(expires) <= datetime.now(UTC) else "active"
    )


def _print_token(session: Session, token: Mapping[str, Any]) -> None:
    if session.json:
        print_json(token)
        return
    facts = {name: value for name, value in token.items() if name != "scopes"}
    print_facts({**facts, "scopes": ", ".join(token["scopes"]), "state": state(token)})


def _print_issued(session: Session, made: Mapping[str, Any]) -> None:
    if session.json:
        print_json(made)
        return
    ends = f", until {made['expires_at']}" if made["expires_at"] else ""
    talk(f"{made['id']}: {_named(made)} may {', '.join(made['scopes'])}{ends}.")
    talk("Keep what follows: it is shown this once.")
    click.echo(made["token"])


def _print_plan(session: Session, token: Mapping[str, Any], what: str) -> None:
    if session.json:
        print_json({"dry_run": True, **token})
    else:
        click.echo(f"{token['id']}: {_named(token)} {what}.")


def _named(token: Mapping[str, Any]) -> str:
    return f"token {token['name']!r} of {token['subject']!r}"


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
