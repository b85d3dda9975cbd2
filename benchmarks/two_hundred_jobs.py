"""Two hundred queued jobs of every fate on two cores, and what is left of them afterwards.

python benchmarks/two_hundred_jobs.py [--jobs 200]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "e2e"))
from soak import CPUS, MEMORY, MIB, Report, soak, soak_daemon  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "two_hundred_jobs.md"


def table(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [
        f"{report.jobs} queued jobs of users' own scripts in containers, in {report.wall_s:.0f} s "
        f"({report.wall_s / report.jobs:.2f} s each); the daemon, killed once and stopped once on "
        f"the way, used {report.daemon_cpu_s:.0f} s of CPU.",
        "",
        "| fate | ended | reason | jobs |",
        "|---|---|---|---|",
    ]
    for (fate, state, reason), count in sorted(report.ends.items()):
        lines.append(f"| {fate} | {state} | {reason or '-'} | {count} |")
    lines += [
        "",
        f"Ended otherwise than meant: {len(report.wrong)}. Most attempts of one job: "
        f"{report.attempts}. Given out at once, by the events: at most {report.most_cpus:g} of "
        f"{CPUS:g} cores, {report.most_memory // MIB} of {MEMORY // MIB} MiB.",
        "",
        "| | before | after | jobs deleted |",
        "|---|---|---|---|",
    ]
    moments = (report.before, report.after, report.deleted)
    for each in fields(report.before):
        if each.name == "rows":
            continue
        values = " | ".join(str(getattr(moment, each.name)) for moment in moments)
        lines.append(f"| {each.name.replace('_', ' ')} | {values} |")
    for name in report.before.rows:
        values = " | ".join(str(moment.rows.get(name, 0)) for moment in moments)
        lines.append(f"| rows of {name} | {values} |")
    lines += [
        "",
        "Blobs are the models, which outlive their jobs; rows, events and audit stay as well.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, print the table and keep it; leave with 1 where a job ended otherwise than meant."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trainbox-soak-") as folder:
        root = Path(folder)
        root.chmod(0o755)
        report = soak(soak_daemon(root), asked.jobs)
    print(table(report))
    if report.wrong:
        sys.exit("\n".join(report.wrong))
    if asked.jobs >= 200:
        RESULTS.write_text(table(report))


if __name__ == "__main__":
    main()
