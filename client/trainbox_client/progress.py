"""Progress where someone looks: a bar on a terminal, a line in a notebook, nothing in a pipe."""

from __future__ import annotations

import html
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, Protocol

Wanted = bool | Literal["auto"]


class Shown(Protocol):
    """Takes events of a job as they come."""

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Show one."""


def describe(event: Mapping[str, Any]) -> str:
    """Return an event in a few words."""
    data, kind = event["data"], event["kind"]
    if kind == "progress":
        eta = data.get("eta_s")
        left = f", {eta:.0f} s left" if isinstance(eta, (int, float)) and eta > 0 else ""
        return f"{data.get('message') or 'training'}{left}"
    if kind == "metric":
        return f"{data.get('name')} = {data.get('value')}"
    if kind == "state":
        return str(data.get("state", ""))
    said = [data.get(name) for name in ("text", "code", "message", "reason", "name")]
    return ": ".join(str(word) for word in said if word)


@contextmanager
def showing(wanted: Wanted, job_id: str) -> Iterator[Shown]:
    """Return how to show a job's events here."""
    if wanted is False:
        yield _nothing
    elif _in_notebook():
        yield _notebook(job_id)
    elif wanted is True or sys.stderr.isatty():
        with _terminal(job_id) as show:
            yield show
    else:
        yield _nothing


def _nothing(event: Mapping[str, Any]) -> None:
    del event


def _in_notebook() -> bool:
    """Whether an IPython kernel runs this; only then is its display worth an import."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    return shell is not None and "IPKernelApp" in getattr(shell, "config", {})


def _notebook(job_id: str) -> Shown:
    from IPython import display

    handle = display.display(display.HTML(bar(job_id, 0.0, "queued")), display_id=True)
    fraction = 0.0

    def show(event: Mapping[str, Any]) -> None:
        nonlocal fraction
        if event["kind"] == "progress":
            fraction = event["data"].get("fraction") or fraction
        elif event["data"].get("state") == "succeeded":
            fraction = 1.0
        handle.update(display.HTML(bar(job_id, fraction, describe(event))))

    return show


def bar(job_id: str, fraction: float, text: str) -> str:
    """Return a progress bar as HTML; everything in it is escaped."""
    return (
        f"<div><progress max='1' value='{min(max(fraction, 0.0), 1.0):.4f}' "
        f"aria-label='{html.escape(job_id)}'></progress> {fraction:.0%} "
        f"<code>{html.escape(job_id)}</code> {html.escape(text)}</div>"
    )


@contextmanager
def _terminal(job_id: str) -> Iterator[Shown]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn())
    with Progress(*columns, TimeElapsedColumn(), console=Console(stderr=True)) as progress:
        line = progress.add_task(job_id, total=1.0)

        def show(event: Mapping[str, Any]) -> None:
            text = "".join(c if c.isprintable() else " " for c in describe(event))[:60]
            if event["kind"] == "progress":
                progress.update(line, completed=event["data"].get("fraction") or 0.0)
            progress.update(line, description=text)

        yield show
