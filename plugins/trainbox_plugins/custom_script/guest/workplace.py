"""Where a script runs: a writable directory with links to its read-only files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

NAME = "work"


def enter(scratch: Path, inputs: Path, names: Iterable[str]) -> Path:
    """Make the directory anew, link every input into it by name, and go there.

    What an earlier attempt left in it is deleted: a retry starts as the first try did. What shall
    survive one belongs into TRAINBOX_SCRATCH.
    """
    work = scratch / NAME
    if os.path.lexists(work):
        import shutil

        shutil.rmtree(work, ignore_errors=True)
    work.mkdir(exist_ok=True)
    for name in names:
        link = work / name
        if not os.path.lexists(link):
            link.symlink_to(inputs / name)
    os.chdir(work)
    return work
