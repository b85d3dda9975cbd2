"""How long the command line takes to say something, beside a bare interpreter.

Each round runs every command once, in turns, as a process of its own; what a help page costs is what
its imports cost. Nothing is asked of a daemon: none listens where the commands are sent.

    python benchmarks/cli_start.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

RESULTS = Path(__file__).parent / "results" / "cli_start.md"
BARE = "python -c pass"
TAB = "`models show` and Tab, no daemon"


class Cost(NamedTuple):
    """Seconds of one run: on the clock, and of processor time."""

    wall: float
    cpu: float


def commands() -> dict[str, tuple[list[str], Mapping[str, str]]]:
    """Return what is run, by how the table calls it: arguments and further variables."""
    ours = [sys.executable, "-m", "trainbox"]
    helps = ("--version", "--help", "jobs --help", "jobs submit --help", "models predict --help")
    press = {
        "_TRAINBOX_COMPLETE": "bash_complete",
        "COMP_WORDS": "trainbox models show ",
        "COMP_CWORD": "3",
    }
    return {
        BARE: ([sys.executable, "-c", "pass"], {}),
        "python -c 'import click'": ([sys.executable, "-c", "import click"], {}),
        **{f"trainbox {each}": ([*ours, *each.split()], {}) for each in helps},
        TAB: (ours, press),
    }


def run_once(argv: list[str], extra: Mapping[str, str]) -> Cost:
    """Run one command to its end."""
    env = {**os.environ, "TRAINBOX_URL": "http://127.0.0.1:9", "TRAINBOX_TOKEN": "none", **extra}
    start = time.perf_counter()
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=env)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{argv} ended with {process.returncode}")
    return Cost(time.perf_counter() - start, usage.ru_utime + usage.ru_stime)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    listed = commands()
    for argv, extra in listed.values():
        run_once(argv, extra)  # byte code is written once per installation
    costs: dict[str, list[Cost]] = {name: [] for name in listed}
    for _ in range(rounds):
        for name, (argv, extra) in listed.items():
            costs[name].append(run_once(argv, extra))
    report(rounds, costs)


def report(rounds: int, costs: Mapping[str, list[Cost]]) -> None:
    bare = statistics.median(cost.wall for cost in costs[BARE])
    rows = []
    for name, each in costs.items():
        wall = statistics.median(cost.wall for cost in each)
        cpu = statistics.median(cost.cpu for cost in each)
        least = min(cost.wall for cost in each)
        shown = name if "`" in name else f"`{name}`"
        rows.append(
            f"| {shown} | {wall * 1000:.0f} ({least * 1000:.0f}) | {cpu * 1000:.0f} "
            f"| {(wall - bare) * 1000:+.0f} | {wall / bare:.1f} |"
        )
    text = "\n".join(
        [
            f"Start of the command line, {rounds} rounds in turns, Python {sys.version.split()[0]}, "
            f"{datetime.now(UTC):%Y-%m-%d}. Milliseconds: median (minimum).",
            "",
            "| command | clock | processor | over bare Python | ratio |",
            "|---|---|---|---|---|",
            *rows,
        ]
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
