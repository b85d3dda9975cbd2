"""Find the examples in a Markdown file that say they can be run.

A fenced block after ``<!-- example: file PATH -->`` is written to a file, after ``<!-- example: run -->`` it
is run by bash, and after ``<!-- example: python -->`` by Python, all in one directory per document.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(
    r"^<!-- example: (?P<kind>file|run|python)(?: (?P<name>\S+))? -->\n+```\w*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
MARK = re.compile(r"^<!-- example:", re.MULTILINE)


@dataclass(frozen=True)
class Example:
    kind: str
    name: str
    text: str
    line: int


def examples(document: Path) -> list[Example]:
    """Return the marked examples; a mark without a block below it is an error."""
    text = document.read_text(encoding="utf-8")
    found = [
        Example(m["kind"], m["name"] or "", m["text"], text.count("\n", 0, m.start()) + 1)
        for m in BLOCK.finditer(text)
    ]
    marks = len(MARK.findall(text))
    assert marks == len(found), f"{document.name}: {marks} marks, {len(found)} examples"
    return found


def write_files(found: list[Example], folder: Path) -> None:
    for example in found:
        if example.kind == "file":
            path = folder / example.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(example.text, encoding="utf-8")


def run(example: Example, folder: Path) -> subprocess.CompletedProcess[str]:
    command = (
        ["bash", "-euo", "pipefail", "-c"] if example.kind == "run" else [sys.executable, "-c"]
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [*command, example.text],
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(folder / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
