"""Checks of the state directory: whose it is, who may read it, how much room is left."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from trainbox.doctor.findings import Finding, fail, ok, skip, warn
from trainbox.settings import Settings

OTHERS = stat.S_IRWXG | stat.S_IRWXO
TIGHT = 3
"""Free space under this many times the floor is worth a warning."""


def state_directory(settings: Settings) -> Iterator[Finding]:
    """It exists, is ours, and nobody else reads it."""
    path = settings.state_dir
    if not path.is_dir():
        yield fail("state.exists", f"{path} is not there", f"mkdir -p -m 700 {_quoted(path)}")
        return
    facts = path.stat()
    yield ok("state.exists", str(path))
    if facts.st_uid != os.geteuid():
        fix = f"chown -R {os.geteuid()} {_quoted(path)}"
        yield fail(
            "state.owner", f"{path} belongs to user {facts.st_uid}, we are {os.geteuid()}", fix
        )
    else:
        yield ok("state.owner", f"user {facts.st_uid}")
    yield _mode("state.mode", path, facts.st_mode, "700")


def token(settings: Settings) -> Iterator[Finding]:
    """The local token is there and private."""
    path = settings.token_file
    try:
        facts = path.stat()
    except FileNotFoundError:
        yield skip("token.mode", f"{path} is not there; the daemon writes it at its first start")
        return
    yield _mode("token.mode", path, facts.st_mode, "600")


def space(settings: Settings) -> Iterator[Finding]:
    """There is room, well above the floor under which no job is accepted."""
    folder = next(
        path for path in (settings.state_dir, *settings.state_dir.parents) if path.exists()
    )
    free, floor = shutil.disk_usage(folder).free, settings.free_bytes_floor
    seen = f"{free / 2**30:.1f} GiB free, floor {floor / 2**30:.1f} GiB"
    fix = "trainbox admin gc --yes"
    if free < floor:
        yield fail("disk.space", seen, fix)
    elif free < TIGHT * floor:
        yield warn("disk.space", seen, fix)
    else:
        yield ok("disk.space", seen)


def _mode(check: str, path: Path, mode: int, wanted: str) -> Finding:
    bits = stat.S_IMODE(mode)
    if bits & OTHERS:
        return fail(
            check,
            f"{path} has mode {bits:o}: others can read it",
            f"chmod {wanted} {_quoted(path)}",
        )
    return ok(check, f"mode {bits:o}")


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))
