"""Checks of the database: sound, of our schema, its audit chain whole, backed up."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from trainbox import backups as whole_backups
from trainbox.doctor.findings import Finding, fail, ok, skip, warn
from trainbox.settings import Settings
from trainbox.store import inspection
from trainbox.store.connections import WAL_BYTES
from trainbox.store.errors import StoreError
from trainbox.store.inspection import Inspection
from trainbox.store.layout import Layout

STALE_DAYS = 7
WAL_LIMIT = 16 * WAL_BYTES


def database(settings: Settings) -> Iterator[Finding]:
    """It can be read, nothing in it is damaged, and this trainbox understands it."""
    layout = Layout(settings.state_dir)
    if not layout.database.exists():
        yield _absent(layout)
        return
    way_back = _way_back(settings)
    try:
        facts = inspection.inspect(layout.database, anchors=layout.anchors)
    except StoreError as error:
        yield fail("database.integrity", error.message, way_back)
        return
    if facts.problem:
        yield fail("database.integrity", f"damaged: {facts.problem}", way_back)
    else:
        yield ok("database.integrity", ", ".join(f"{n} {name}" for name, n in facts.rows.items()))
    yield _schema(facts)
    yield _audit(facts, way_back)
    yield _wal(layout)


def backups(settings: Settings) -> Iterator[Finding]:
    """A whole backup exists and is not old."""
    folder = backup_folder(settings)
    found = whole_backups.backups_in(folder)
    fix = f"trainbox admin backup {shlex.quote(str(folder))}"
    if not Layout(settings.state_dir).database.exists():
        yield skip("backup.age", "there is nothing to back up yet")
    elif not found:
        yield warn("backup.age", f"there is no backup in {folder}", fix)
    else:
        made = datetime.fromisoformat(whole_backups.read_manifest(found[-1]).made_at)
        days = (datetime.now(UTC) - made).days
        seen = f"{found[-1].name}, {days} days old"
        yield warn("backup.age", seen, fix) if days >= STALE_DAYS else ok("backup.age", seen)


def backup_folder(settings: Settings) -> Path:
    """Return where backups of this daemon go unless told otherwise."""
    return Layout(settings.state_dir).backups / "whole"


def _absent(layout: Layout) -> Finding:
    if layout.marker.exists():
        return fail(
            "database.integrity",
            "the database is missing",
            f"ls {shlex.quote(str(layout.backups))}",
        )
    return skip("database.integrity", "there is none yet; the daemon makes it at its first start")


def _schema(facts: Inspection) -> Finding:
    seen = f"schema {facts.schema}, written by trainbox {facts.version}"
    if facts.schema_is_newer:
        return fail("database.schema", seen, f"pip install 'trainbox>={facts.version}'")
    if facts.schema < facts.newest_schema:
        return warn(
            "database.schema",
            f"{seen}; the next start brings it to {facts.newest_schema}, with a backup first",
            "systemctl restart trainbox",
        )
    return ok("database.schema", seen)


def _audit(facts: Inspection, way_back: str) -> Finding:
    if not facts.audit.ok:
        return fail("audit.chain", "; ".join(facts.audit.faults), way_back)
    return ok(
        "audit.chain",
        f"{facts.audit.rows} rows fit one another, and {facts.audit.anchors} noted heads",
    )


def _wal(layout: Layout) -> Finding:
    wal = layout.sidecars()[0]
    size = wal.stat().st_size if wal.exists() else 0
    seen = f"{size / 2**20:.1f} MiB"
    if size > WAL_LIMIT:
        return warn("database.wal", f"{seen}: it is not folded back", "systemctl restart trainbox")
    return ok("database.wal", seen)


def _way_back(settings: Settings) -> str:
    found = whole_backups.backups_in(backup_folder(settings))
    if not found:
        return "ls " + shlex.quote(str(Layout(settings.state_dir).backups))
    return f"trainbox admin restore --replace {shlex.quote(str(found[-1]))}"
