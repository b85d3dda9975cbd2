"""``trainbox admin audit|drain|undrain|openapi|install-units``: an operator's day."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import click

from trainbox.cli.consent import agree, dry_run_option, yes_option
from trainbox.cli.durations import DURATION
from trainbox.cli.exits import CliError, Exit
from trainbox.cli.output import output_option, print_items
from trainbox.cli.render import print_facts, print_json, talk
from trainbox.cli.session import Session, Verb, load_settings, pass_session

PAGE = 500
LOOK_S = 2.0
UNITS = (
    ("trainbox.service", "etc/systemd/system/trainbox.service"),
    ("trainbox.socket", "etc/systemd/system/trainbox.socket"),
    ("trainbox.sysusers", "usr/lib/sysusers.d/trainbox.conf"),
    ("trainbox.tmpfiles", "usr/lib/tmpfiles.d/trainbox.conf"),
)
"""Which shipped file goes where, as docs/operations.md does by hand."""
DROP_INS = "etc/systemd/system/trainbox.service.d"
NEXT_COMMANDS = (
    "systemd-sysusers",
    "systemd-tmpfiles --create",
    "systemctl daemon-reload",
    "systemctl enable --now trainbox.socket trainbox.service",
)


@click.command("audit", cls=Verb)
@click.option("--who", help="Acts of this subject.")
@click.option("--act", help="Such as token.revoke, or token. for all that begin so.")
@click.option("--object", help="Acts on this id.")
@click.option("--request-id", help="Acts of this request.")
@click.option("--since", metavar="TIME", help="ISO 8601 with an offset, such as 2026-01-31T08:00Z.")
@click.option("--until", metavar="TIME", help="As --since.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option("--all", "everything", is_flag=True, help="No limit.")
@click.option("--verify", is_flag=True, help="Read the whole log and check its chain instead.")
@output_option
@pass_session
def audit(
    session: Session, /, limit: int, everything: bool, verify: bool, **filters: str | None
) -> None:
    """List who did what, newest first; or prove that the log is as it was written."""
    if verify:
        _verify(session)
        return
    size = PAGE if everything else min(limit, PAGE)
    entries = session.client.pages("/v1/audit", limit=size, **filters)
    print_items(
        session,
        list(islice(entries, None if everything else limit)),
        (
            ("SEQ", lambda one: one["seq"]),
            ("AT", lambda one: one["at"]),
            ("WHO", lambda one: one["who"]),
            ("ACT", lambda one: one["act"]),
            ("OBJECT", lambda one: one["object"]),
            ("NOTE", lambda one: one["note"]),
            ("PEER", lambda one: one["peer"]),
        ),
        key="seq",
    )


@click.command("drain", cls=Verb)
@click.option("--wait", is_flag=True, help="Until nothing runs any more.")
@click.option("--timeout", type=DURATION, help="Longest wait, such as 30m; leaves with 124.")
@pass_session
def drain(session: Session, wait: bool, timeout: float | None) -> None:
    """Take no new job and start none that wait; what runs ends. A restart undoes it."""
    state = session.client.post("/v1/admin/drain")
    until = time.monotonic() + timeout if timeout is not None else None
    while wait and state["running"]:
        if until is not None and time.monotonic() > until:
            raise CliError(
                f"{state['running']} still run; the daemon is draining.",
                Exit.TIMEOUT,
                next_step="Wait on: trainbox admin drain --wait",
            )
        time.sleep(LOOK_S)
        state = session.client.get("/v1/admin/drain")
    _print_drain(session, state)


@click.command("undrain", cls=Verb)
@pass_session
def undrain(session: Session) -> None:
    """Take and start work again."""
    _print_drain(session, session.client.post("/v1/admin/undrain"))


@click.command("openapi", cls=Verb)
@pass_session
def openapi(_session: Session) -> None:
    """Print the OpenAPI document of the plugins that are on; needs no running daemon."""
    from trainbox.http.openapi import offline_document
    from trainbox.plugins import load_plugins, read_manifest
    from trainbox.registry import build_registry
    from trainbox_sdk.errors import TrainboxError

    settings = load_settings()
    try:
        registry = build_registry(load_plugins(read_manifest(settings.plugins_file)))
        document = offline_document(tuple(registry.surfaces.values()))
    except TrainboxError as error:
        raise CliError(error.message, Exit.USAGE, next_step=error.hint, code=error.code) from None
    print_json(document)


@click.command("install-units", cls=Verb)
@click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("/"),
    show_default=True,
    help="Copy under this folder, for an image in the making.",
)
@click.option(
    "--drop-in",
    "drop_ins",
    multiple=True,
    metavar="NAME",
    help="Such as docker, or process where there is no container engine; may be repeated.",
)
@dry_run_option
@yes_option
@pass_session
def install_units(
    session: Session, root: Path, drop_ins: tuple[str, ...], dry_run: bool, yes: bool
) -> None:
    """Copy the systemd units of this version; starts nothing, prints what to run next."""
    from trainbox.doctor.host import shipped_units

    copies = _copies(shipped_units(), root, drop_ins)
    changed = {target: source for source, target in copies if not _same(source, target)}
    replaced = [target for target in changed if target.exists()]
    if replaced and not dry_run:
        names = ", ".join(map(str, replaced))
        agree(session, f"Replace {names}?", yes=yes)
    if not dry_run:
        _copy(changed)
    plan = [
        {"source": str(source), "target": str(target), "changed": target in changed}
        for source, target in copies
    ]
    if session.json:
        print_json({"dry_run": dry_run, "files": plan, "next": NEXT_COMMANDS})
        return
    for one in plan:
        word = ("would copy" if dry_run else "copied") if one["changed"] else "as it is"
        click.echo(f"{word}  {one['target']}")
    talk("Then run:")
    for line in NEXT_COMMANDS:
        talk(f"  {line}")


def _verify(session: Session) -> None:
    verdict = session.client.get("/v1/audit/verify")
    if verdict["ok"]:
        if session.json:
            print_json(verdict)
        else:
            print_facts(verdict)
        return
    raise CliError(
        "The audit log is not as it was written.",
        Exit.INTERNAL,
        where=[*verdict["faults"], f"first broken entry: {verdict['first_broken']}"],
        next_step="Keep a copy of the state directory, then compare with a backup.",
        code="audit_broken",
        problem=verdict,
    )


def _print_drain(session: Session, state: Mapping[str, Any]) -> None:
    if session.json:
        print_json(state)
    else:
        print_facts(state)
    if state["draining"] and not state["running"]:
        talk("Nothing runs: it can be stopped.")


def _copies(source: Path, root: Path, drop_ins: tuple[str, ...]) -> list[tuple[Path, Path]]:
    """Return what is copied and where to.

    Raises:
        CliError: no drop-in of that name, or an installation without units.
    """
    known = {path.stem for path in (source / "drop-ins").glob("*.conf")}
    if unknown := sorted(set(drop_ins) - known):
        raise CliError(
            f"There is no drop-in {unknown[0]!r}.",
            Exit.USAGE,
            where=[f"there are: {', '.join(sorted(known)) or 'none'}"],
        )
    pairs = [(source / name, root / target) for name, target in UNITS]
    pairs += [
        (source / "drop-ins" / f"{name}.conf", root / DROP_INS / f"{name}.conf")
        for name in drop_ins
    ]
    if missing := [path for path, _ in pairs if not path.is_file()]:
        raise CliError(
            "This installation has no units.",
            Exit.USAGE,
            where=[f"{missing[0]} is not there"],
            next_step="Install trainbox from its wheel.",
        )
    return pairs


def _same(source: Path, target: Path) -> bool:
    try:
        return target.read_bytes() == source.read_bytes()
    except OSError:
        return False


def _copy(changed: Mapping[Path, Path]) -> None:
    from trainbox.durable import write_durably

    for target, source in changed.items():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            write_durably(target, source.read_text(encoding="utf-8"))
            target.chmod(0o644)
        except OSError as error:
            raise CliError(
                "The units cannot be copied.",
                Exit.USAGE,
                where=[f"{target}: {error.strerror}"],
                next_step="Run it as root, or into a folder of yours with --root.",
            ) from None
