"""The list of checks, in the order they are made; a check that raises is a finding, too."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from trainbox.doctor import database, files, host, plugins, sandboxes
from trainbox.doctor.findings import Finding, fail
from trainbox.settings import Settings

Ask = Callable[[str], Mapping[str, Any]]
"""GET a path of the running daemon; raises TrainboxError or OSError where none answers."""

SYNCHRONOUS: Sequence[Callable[[Settings], Iterator[Finding]]] = (
    host.versions,
    host.clock,
    files.state_directory,
    files.token,
    files.space,
    database.database,
    database.backups,
    plugins.plugins,
    host.units,
)


async def examine(settings: Settings, ask: Ask) -> AsyncIterator[Finding]:
    """Make every check and yield its findings as they come.

    Args:
        settings: as the daemon would read them.
        ask: how to reach the running daemon.
    """
    for check in SYNCHRONOUS:
        for finding in _safely(check, settings):
            yield finding
    for finding in host.daemon(ask):
        yield finding
    async for finding in sandboxes.backends(settings):
        yield finding


def _safely(
    check: Callable[[Settings], Iterator[Finding]], settings: Settings
) -> Iterator[Finding]:
    try:
        yield from check(settings)
    except Exception as error:  # noqa: BLE001 - one check that breaks must not hide the others
        name = f"{check.__module__.rpartition('.')[2]}.{check.__name__}"
        yield fail(name, f"the check itself broke: {error!r}", "trainbox admin doctor --json")
