"""Moments as people write them: ``2d`` ago, a date, or a time."""

from __future__ import annotations

import datetime as dt
from typing import Any

import click

from trainbox.cli.durations import DURATION


class Moment(click.ParamType[str]):
    """A moment; its value is ISO 8601 with an offset. A time without one is this machine's."""

    name = "moment"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return ISO 8601."""
        text = str(value)
        try:
            return dt.datetime.fromisoformat(text).astimezone().isoformat()
        except (ValueError, OverflowError):
            pass
        try:
            ago = dt.timedelta(seconds=DURATION.convert(text, param, ctx))
            return (dt.datetime.now(dt.UTC) - ago).isoformat()
        except (click.BadParameter, OverflowError):
            self.fail(f"{text!r} is not 2d (ago), 2026-03-31 or 2026-03-31T14:00.", param, ctx)


MOMENT = Moment()
