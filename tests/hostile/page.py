"""``docs/sandbox-attacks.md``: its rows come from the catalogue, its verdicts are looked at.

Run ``python tests/hostile/page.py`` to write rows anew; verdicts are kept, and changed by hand.
"""

from __future__ import annotations

import re
import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from attack import Attack, Outcome, Verdict, verdict
from catalogue import AMOUNTS, ATTACKS

PAGE = Path(__file__).parents[2] / "docs" / "sandbox-attacks.md"
COLUMNS = ("docker", "gvisor", "process", "bare")
EMULATED = "emulated"
"""It works, within a kernel that the sandbox has to itself."""
_ROW = re.compile(r"^\| `(\w+)` \|(.*)\|$", re.MULTILINE)
_HEAD = "| attack | tries | stopped by | docker | gvisor | process | bare |\n|---|---|---|---|---|---|---|\n"


def rows() -> dict[str, list[str]]:
    """Return the page's cells by attack."""
    text = PAGE.read_text() if PAGE.exists() else ""
    return {name: [c.strip() for c in cells.split(" | ")] for name, cells in _ROW.findall(text)}


@cache
def verdicts(kind: str) -> dict[str, str]:
    """Return what the page says of a kind of backend, by attack."""
    column = 2 + COLUMNS.index("bare" if kind == "process-bare" else kind.partition("-")[0])
    return {name: cells[column] for name, cells in rows().items()}


def held(kind: str, attack: Attack, outcome: Outcome | None) -> None:
    """Docker contains or refuses; any other backend does what the page says of it."""
    found, broke = verdict(attack, outcome)
    told = f"{attack.name} on {kind}: {found}: {broke}; {outcome and outcome.log[-500:]}"
    if kind.startswith("docker"):
        assert found is not Verdict.NOT_CONTAINED, told
    expected = verdicts(kind)[attack.name]
    if expected == EMULATED:
        expected = Verdict.NOT_CONTAINED.value
    assert found.value == expected, f"the page says {expected}; {told}"


def table() -> str:
    """Return the whole table, with the verdicts that are there."""
    of_bare = {attack.name for attack in AMOUNTS}
    kept = {
        name: cells + ["contained"] * (2 + len(COLUMNS) - len(cells))
        for name, cells in rows().items()
    }
    lines = []
    for attack in ATTACKS:
        said = kept.get(attack.name, ["", "", *["contained"] * len(COLUMNS)])[2:]
        if attack.name not in of_bare:
            said[COLUMNS.index("bare")] = "as before"
        by = ", ".join(attack.stopped_by)
        lines.append(f"| `{attack.name}` | {attack.tries} | {by} | {' | '.join(said)} |\n")
    return _HEAD + "".join(lines)


def whole(text: str) -> str:
    """Return the page's text with its table as the catalogue says."""
    head, _, rest = text.partition("| attack | tries |")
    tail = rest.partition("\n\n")[2]
    return f"{head}{table()}\n{tail}"


if __name__ == "__main__":
    PAGE.write_text(whole(PAGE.read_text()))
