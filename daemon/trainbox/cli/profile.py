"""A dataset's profile for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from trainbox.cli.render import print_facts, print_table, safe

TOP = 3


def print_profile(found: Mapping[str, Any]) -> None:
    """Print columns, what to know of them, and what gives the target away."""
    profile, target = found["profile"], found["target"]
    print_facts({"rows": profile["rows"], "duplicate rows": profile["duplicate_rows"]})
    click.echo()
    headers = ("COLUMN", "TYPE", "MISSING", "DISTINCT", "MIN", "MEDIAN", "MAX", "MOST FREQUENT")
    print_table(headers, [_row(each, profile["rows"]) for each in profile["columns"]])
    _print_warnings(profile["warnings"])
    if target is not None:
        _print_target(target)


def _row(each: Mapping[str, Any], rows: int) -> tuple[object, ...]:
    column, numbers = each["column"], each["numbers"]
    about = "" if column["distinct_exact"] else "~"
    missing = f"{column['missing']} ({column['missing'] / rows:.0%})" if column["missing"] else 0
    return (
        column["name"],
        column["type"] + (" constant" if each["constant"] else ""),
        missing,
        f"{about}{column['distinct']}",
        column["min"],
        (numbers or {}).get("quantiles", {}).get("0.5"),
        column["max"],
        ", ".join(f"{one['value']} ({one['count']})" for one in each["top"][:TOP]),
    )


def _print_warnings(warnings: Any) -> None:
    if warnings:
        click.echo()
    for one in warnings:
        hint = f"; {one['hint']}" if one["hint"] else ""
        click.echo(safe(f"{one['rule']}: {one['message']}{hint}"))


def _print_target(target: Mapping[str, Any]) -> None:
    name = target["target"]
    if target["classes"]:
        shares = (f"{one['value']} ({one['count']})" for one in target["classes"])
        click.echo(safe(f"\ntarget {name}: {', '.join(shares)}"))
    _print_warnings(target["warnings"])
    if not target["leaks"]:
        click.echo(safe(f"\nNo column gives {name} away."))
        return
    click.echo()
    rows = [(one["column"], one["rule"], one["score"], one["message"]) for one in target["leaks"]]
    print_table(("LEAK", "RULE", "SCORE", "WHY"), rows)
