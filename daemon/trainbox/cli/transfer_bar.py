"""How far an upload got, shown where somebody looks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from trainbox.cli.render import live

CHUNK = 256 * 1024
"""Bytes between two moves of the bar."""
SHOWN_BYTES = 8 * 1024**2
"""From this size on a bar is worth showing."""


class Bar:
    """How far an upload got; shows nothing."""

    def at(self, sent: int) -> None:
        """Say how many bytes are there."""

    def say(self, text: str) -> None:
        """Say what is being done."""


@contextlib.contextmanager
def bar(size: int) -> Iterator[Bar]:
    """Show a bar on a terminal for what takes longer than a blink."""
    if not live() or size < SHOWN_BYTES:
        yield Bar()
        return
    from rich import progress
    from rich.console import Console

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task("uploading", total=size)

        class Moving(Bar):
            def at(self, sent: int) -> None:
                shown.update(task, completed=sent)

            def say(self, text: str) -> None:
                shown.update(task, description=text)

        yield Moving()
