"""Runs a file as ``__main__`` in this process, as ``python file`` would in its own."""

from __future__ import annotations

import builtins
import importlib.machinery
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType

CRASH = 1
INTERRUPT = 130
"""Exit code of a shell's program that SIGINT ended."""
_OURS = frozenset({__name__, f"{__name__.rpartition('.')[0]}.main"})


@dataclass(frozen=True)
class Explanation:
    """What ended a script, for the record of its run."""

    code: str
    message: str
    hint: str
    exit_code: int


def run(path: Path, arguments: Sequence[str]) -> None:
    """Run a file; it stays ``sys.modules["__main__"]``, where pickle and multiprocessing look.

    Raises:
        BaseException: whatever the file raises.
    """
    name = str(path)
    module = ModuleType("__main__")
    module.__dict__.update(
        __file__=name,
        __builtins__=builtins,
        __cached__=None,
        __loader__=importlib.machinery.SourceFileLoader("__main__", name),
    )
    sys.modules["__main__"] = module
    sys.argv = [name, *arguments]
    sys.path.insert(0, str(path.parent))
    code = compile(path.read_bytes(), name, "exec", dont_inherit=True)
    exec(code, module.__dict__)  # noqa: S102 - what this is for


def show(error: BaseException) -> None:
    """Print a traceback of the script's own frames, by the hook that the script may have set."""
    own = _own_frames(error)
    sys.excepthook(type(error), error.with_traceback(own), own)
    sys.stderr.flush()


def explain(error: BaseException, inputs: Path | None, model: Path) -> Explanation:
    """Return what to say of an exception that ended a script."""
    message = traceback.format_exception_only(type(error), error)[-1].strip()[:1000]
    place = _place(error, inputs)
    code = "out_of_memory" if isinstance(error, MemoryError) else "exception"
    exit_code = INTERRUPT if isinstance(error, KeyboardInterrupt) else CRASH
    told = f"{message} ({place})" if place else message
    return Explanation(code, told, _hint(error, model), exit_code)


def _own_frames(error: BaseException) -> TracebackType | None:
    """Return the traceback without the frames that led to the script."""
    found = error.__traceback__
    while found is not None and found.tb_frame.f_globals.get("__name__") in _OURS:
        found = found.tb_next
    return found


def _place(error: BaseException, inputs: Path | None) -> str:
    """Return the last line of the user's own files that the error came through."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        path = Path(frame.f_code.co_filename)
        if path.parent == inputs:
            place = f"{path.name}, line {line}"
    return place


def _hint(error: BaseException, model: Path) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"name the package of {error.name} in a requirements file, and upload it as such"
    if isinstance(error, FileNotFoundError) and str(error.filename).startswith(f"{model}/"):
        return "MODEL_OUTPUT_PATH does not exist yet: make it a directory first (os.makedirs)"
    if isinstance(error, MemoryError):
        return "ask for more memory"
    return ""
