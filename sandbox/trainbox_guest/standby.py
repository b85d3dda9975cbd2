"""Wait inside a sandbox, with everything imported, for the job it will run.

A sandbox that stands by gets a copy of this file as ``sitecustomize.py`` on its ``PYTHONPATH``. The
interpreter imports that name while it starts, before it looks at what it was asked to run; there we
wait. When the job comes, its variables take the place of ours and the import fails in the one way
that the interpreter passes over in silence: from there on nothing differs from a cold start, the
arguments, ``__main__``, tracebacks and the exit included, since the interpreter itself goes on.

Stands alone: it is copied, and may run beside code of any age.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional

NAME = "sitecustomize"
PLAN = "plan.json"
GATE = "go"
FAILED = 70
"""Exit code of a standby that cannot go on (EX_SOFTWARE); no job ever sees it."""


def stand_by(folder: str) -> Optional[Any]:
    """Import, wait, become the job; return the environment's own ``sitecustomize``, if any.

    Args:
        folder: where this copy, its plan and its gate lie; unseen once the job is there.
    """
    sys.path.remove(folder)
    sys.path_importer_cache.pop(folder, None)
    own = sys.modules.pop(NAME)
    theirs = _customization()
    sys.modules[NAME] = own  # the import under way looks for it
    try:
        plan = json.loads(Path(folder, PLAN).read_text(encoding="utf-8"))
        _import_quietly(plan["modules"], int(plan["enough_bytes"]))
        variables = _wait(Path(folder, GATE), float(plan["patience_s"]))
    except BaseException:  # noqa: BLE001 - going on would run the job's code without its job
        os._exit(FAILED)
    os.environ.update(variables)
    if "random" in sys.modules:
        sys.modules["random"].seed()
    return theirs


def _customization() -> Optional[Any]:
    try:
        return importlib.import_module(NAME)
    except ImportError:
        return None


def _import_quietly(modules: List[str], enough_bytes: int) -> None:
    """Import what a job of this kind may want, until we hold as much memory as is ours to spend.

    What fails or speaks does so again in the job that imports it.
    """
    silence = os.open(os.devnull, os.O_WRONLY)
    kept = {stream: os.dup(stream) for stream in (1, 2)}
    for stream in kept:
        os.dup2(silence, stream)
    for name in modules:
        if _held_bytes() > enough_bytes:
            break
        try:
            importlib.import_module(name)
        except Exception:  # noqa: BLE001, S112 - the job that needs it will say so
            continue
    for stream, before in kept.items():
        os.dup2(before, stream)
        os.close(before)
    os.close(silence)
    gc.collect()


def _held_bytes() -> int:
    """Return the memory we hold (``/proc/self/statm``: its second number, in pages)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _wait(gate: Path, patience_s: float) -> Dict[str, str]:
    """Return the job's variables: one JSON line through the gate.

    Opened for writing too, so that whoever only looks whether we wait does not end the wait.
    """
    fd = os.open(gate, os.O_RDWR)
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    line = b""
    while not line.endswith(b"\n"):
        if not poll.poll(patience_s * 1000):
            os._exit(FAILED)  # nobody is left who could send a job
        line += os.read(fd, 65536)
    os.close(fd)
    variables: Dict[str, str] = json.loads(line)
    return variables


if __name__ == NAME:
    _theirs = stand_by(str(Path(__file__).parent))
    if _theirs is None:
        raise ImportError("no customization here", name=NAME)
    sys.modules[NAME] = _theirs
