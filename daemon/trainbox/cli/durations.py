"""Durations as people write them: ``90d``, ``12h``, ``30m``, ``45s``, or a number of seconds."""

from __future__ import annotations

import re
from typing import Any

import click

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 7 * 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])?", re.IGNORECASE)


class Duration(click.ParamType[float]):
    """A length of time; its value is a float of seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        found = _DURATION.fullmatch(value.strip())
        if found is None:
            self.fail(f"{value!r} is not a duration such as 90d, 12h, 30m or 45s.", param, ctx)
        return float(found[1]) * _UNITS[(found[2] or "s").lower()]


DURATION = Duration()
