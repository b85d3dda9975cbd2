"""Checks of the host: versions, clock, unit files, the daemon that should be running."""

from __future__ import annotations

import platform
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

from trainbox.doctor.findings import Finding, fail, ok, skip, warn
from trainbox.settings import Settings
from trainbox.store import inspection
from trainbox.store.errors import StoreError
from trainbox.store.layout import Layout
from trainbox_sdk.errors import TrainboxError

RELEASED = datetime(2026, 11, 1, tzinfo=UTC)
"""No clock that is right is before this."""
UNIT = Path("/etc/systemd/system/trainbox.service")


def versions(settings: Settings) -> Iterator[Finding]:
    """Say what runs here."""
    del settings
    yield ok(
        "version",
        f"trainbox {version('trainbox')}, Python {sys.version.split()[0]}, "
        f"{platform.system()} {platform.release()}",
    )


def clock(settings: Settings) -> Iterator[Finding]:
    """The clock is not before what is known to have happened."""
    now = datetime.fromtimestamp(time.time(), UTC)
    newest = RELEASED
    database = Layout(settings.state_dir).database
    if database.exists():
        with suppress(StoreError):  # the check of the database says it
            newest = max(newest, inspection.inspect(database).newest_event_at or newest)
    if now < newest - timedelta(minutes=1):
        seen = f"it says {now:%Y-%m-%d %H:%M:%S} UTC, and {newest:%Y-%m-%d %H:%M:%S} has been"
        yield fail("clock", seen, "timedatectl set-ntp true")
    else:
        yield ok("clock", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def units(settings: Settings) -> Iterator[Finding]:
    """An installed unit is the one this trainbox ships."""
    del settings
    if not UNIT.exists():
        yield skip("systemd.unit", f"{UNIT} is not there: the daemon is not a service on this host")
        return
    shipped = shipped_units() / UNIT.name
    if not shipped.exists():
        yield skip("systemd.unit", f"this installation has no {shipped}")
    elif UNIT.read_text() != shipped.read_text():
        yield warn(
            "systemd.unit",
            f"{UNIT} differs from the one this version ships; put changes into drop-ins",
            f"install -m 644 {shipped} {UNIT} && systemctl daemon-reload",
        )
    else:
        yield ok("systemd.unit", "as shipped")


def shipped_units() -> Path:
    """Return where this installation keeps its unit files."""
    installed = Path(sysconfig.get_path("data")) / "share" / "trainbox" / "systemd"
    checkout = Path(__file__).resolve().parents[3] / "systemd"
    return installed if installed.is_dir() else checkout


def daemon(ask: Callable[[str], Mapping[str, Any]]) -> Iterator[Finding]:
    """A daemon answers and is ready; which of its checks is not, if one is not."""
    try:
        said = ask("/readyz")
    except (TrainboxError, OSError) as error:
        yield warn("daemon.answers", f"{error}", "systemctl start trainbox || trainbox serve &")
        return
    checks = said.get("checks", [])
    bad = [check for check in checks if not check.get("ok")]
    yield ok("daemon.answers", f"{len(checks)} checks of its own")
    for check in bad:
        yield fail(f"daemon.{check['name']}", str(check["detail"]), "journalctl -u trainbox -n 50")
