"""Checks of plugins: what is listed loads."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from trainbox.doctor.findings import Finding, fail, ok, warn
from trainbox.plugins import load_plugins, read_manifest
from trainbox.settings import Settings
from trainbox_sdk.errors import TrainboxError


def plugins(settings: Settings) -> Iterator[Finding]:
    """Every plugin of plugins.toml loads."""
    edit = f"${{EDITOR:-vi}} {shlex.quote(str(settings.plugins_file))}"
    try:
        loaded = load_plugins(read_manifest(settings.plugins_file))
    except TrainboxError as error:
        yield fail("plugins.load", error.message, edit)
        return
    listed = [info for info in loaded.infos() if info.status != "not listed"]
    broken = [info for info in listed if info.status != "loaded"]
    for info in broken:
        name = info.distribution or info.name
        fix = f"trainbox plugins disable {shlex.quote(info.name)}"
        if info.status == "missing":
            yield warn(f"plugins.{info.name}", f"listed, and not installed ({name})", fix)
        else:
            yield warn(f"plugins.{info.name}", f"{info.status}: {info.error}", fix)
    if not broken:
        yield ok("plugins.load", ", ".join(info.name for info in listed) or "none is listed")
