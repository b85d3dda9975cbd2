"""``trainbox webhooks``: who is told what happens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from trainbox.cli.consent import agree, dry_run_option, yes_option
from trainbox.cli.output import output_option, print_items
from trainbox.cli.render import print_facts, print_json, talk
from trainbox.cli.session import Noun, Session, pass_session
from trainbox.cli.urls import segment


@click.group(cls=Noun)
def command() -> None:
    """Have URLs told what happens, signed as Standard Webhooks; see what was sent."""


@command.command("add")
@click.argument("receiver", metavar="URL")
@click.option("--event", "events", multiple=True, help="Such as job.failed; all by default.")
@click.option("--description", default="", help="For people.")
@click.option("--everyone", is_flag=True, help="Everyone's things, not mine alone; for admins.")
@pass_session
def add(
    session: Session, receiver: str, events: tuple[str, ...], description: str, everyone: bool
) -> None:
    """Have URL told; prints the signing secret on stdout: it is shown this once."""
    body = {
        "url": receiver,
        "events": events,
        "description": description,
        "everyone": everyone,
    }
    _print_issued(session, session.client.post("/v1/webhooks", body))


@command.command("ls")
@output_option
@pass_session
def ls(session: Session) -> None:
    """List webhooks, newest first."""
    print_items(
        session,
        list(session.client.pages("/v1/webhooks", limit=500)),
        (
            ("ID", lambda one: one["id"]),
            ("URL", lambda one: one["url"]),
            ("EVENTS", lambda one: ",".join(one["events"]) or "all"),
            ("STATE", lambda one: one["state"]),
            ("REASON", lambda one: one["reason"]),
            ("DESCRIPTION", lambda one: one["description"]),
        ),
    )


@command.command("show")
@click.argument("webhook")
@pass_session
def show(session: Session, webhook: str) -> None:
    """Show a webhook, without its secret."""
    _print_webhook(session, session.client.get(_path(webhook)))


@command.command("set")
@click.argument("webhook")
@click.option("--to", "receiver", metavar="URL", help="Tell another URL.")
@click.option("--event", "events", multiple=True, help="These events, instead of the present ones.")
@click.option("--all-events", is_flag=True, help="All events.")
@click.option("--description", help="For people.")
@click.option("--active/--pause", default=None, help="Send again, also after failures; or stop.")
@pass_session
def change(
    session: Session,
    *,
    webhook: str,
    receiver: str | None,
    events: tuple[str, ...],
    all_events: bool,
    description: str | None,
    active: bool | None,
) -> None:
    """Change, pause or revive a webhook."""
    if events and all_events:
        raise click.UsageError("Give either --event or --all-events.")
    chosen = events if events or all_events else None
    body = {"url": receiver, "events": chosen, "description": description, "active": active}
    given = {name: value for name, value in body.items() if value is not None}
    if not given:
        raise click.UsageError("Say what to change: --to, --event, --description, --pause.")
    _print_webhook(session, session.client.patch(_path(webhook), given))


@command.command("rm")
@click.argument("webhook")
@dry_run_option
@yes_option
@pass_session
def rm(session: Session, webhook: str, dry_run: bool, yes: bool) -> None:
    """Delete a webhook and the log of what it was sent."""
    path = _path(webhook)
    if dry_run or not yes:
        found = session.client.get(path)
        if dry_run:
            _print_plan(session, found)
            return
        agree(session, f"Delete the webhook to {found['url']} and its log?", yes=yes)
    session.client.delete(path)
    if session.json:
        print_json({"id": webhook, "deleted": True})
    else:
        talk(f"{webhook} is gone.")


@command.command("test")
@click.argument("webhook")
@pass_session
def test(session: Session, webhook: str) -> None:
    """Send it a message 'webhook.test'; 'deliveries' tells how that went."""
    _print_queued(session, webhook, session.client.post(f"{_path(webhook)}/test"))


@command.command("deliveries")
@click.argument("webhook")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
@output_option
@pass_session
def deliveries(session: Session, webhook: str, limit: int) -> None:
    """List what it was sent, or is to be sent, newest first."""
    print_items(
        session,
        session.client.get(f"{_path(webhook)}/deliveries", limit=limit)["items"],
        (
            ("ID", lambda one: one["id"]),
            ("EVENT", lambda one: one["event"]),
            ("STATE", lambda one: one["state"]),
            ("TRIES", lambda one: one["attempts"]),
            ("ANSWER", _answer),
            ("CREATED", lambda one: one["created_at"]),
            ("NEXT TRY", lambda one: one["next_attempt_at"]),
        ),
    )


@command.command("redeliver")
@click.argument("webhook")
@click.argument("delivery")
@pass_session
def redeliver(session: Session, webhook: str, delivery: str) -> None:
    """Send a message once more, as a delivery of its own."""
    path = f"{_path(webhook)}/deliveries/{segment(delivery)}/redeliver"
    _print_queued(session, webhook, session.client.post(path))


@command.command("rotate-secret")
@click.argument("webhook")
@pass_session
def rotate_secret(session: Session, webhook: str) -> None:
    """Give it a new secret, printed on stdout this once; both sign for 24 hours."""
    _print_issued(session, session.client.post(f"{_path(webhook)}/rotate"))


def _path(webhook: str) -> str:
    return f"/v1/webhooks/{segment(webhook)}"


def _answer(delivery: Mapping[str, Any]) -> object:
    """Return the last answer of the receiver: a status, or why there is none."""
    if not delivery["tries"]:
        return None
    last = delivery["tries"][-1]
    return last["status"] or last["error"]


def _print_webhook(session: Session, webhook: Mapping[str, Any]) -> None:
    if session.json:
        print_json(webhook)
    else:
        print_facts({**webhook, "events": ", ".join(webhook["events"]) or "all"})


def _print_issued(session: Session, made: Mapping[str, Any]) -> None:
    if session.json:
        print_json(made)
        return
    talk(f"{made['id']} tells {made['url']} of {', '.join(made['events']) or 'all events'}.")
    talk("Keep what follows, the signing secret: it is shown this once.")
    click.echo(made["secret"])


def _print_plan(session: Session, webhook: Mapping[str, Any]) -> None:
    if session.json:
        print_json({"dry_run": True, **webhook})
    else:
        click.echo(f"{webhook['id']} to {webhook['url']} would be deleted.")


def _print_queued(session: Session, webhook: str, delivery: Mapping[str, Any]) -> None:
    if session.json:
        print_json(delivery)
        return
    talk(f"Queued. How it went: trainbox webhooks deliveries {webhook}")
    click.echo(delivery["id"])
