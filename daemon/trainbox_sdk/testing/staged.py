"""Run the guest with nothing importable of ours but what was staged.

Started as ``python staged.py STAGE ROOT…``. In an author's own environment a forgotten package
would still be found, and missed only in the sandbox; here the named roots come from the stage or
not at all. Standard library only: this runs in the guest's interpreter.
"""

from __future__ import annotations

import runpy
import sys
from importlib.machinery import ModuleSpec, PathFinder
from typing import Optional, Sequence  # noqa: UP035 - the guest supports Python 3.9


class StagedOnly:
    """Finds the named top-level packages in the stage alone.

    Args:
        stage: the staged directory.
        roots: top-level names that may come from nowhere else.
    """

    def __init__(self, stage: str, roots: Sequence[str]) -> None:
        self._stage = stage
        self._roots = frozenset(roots)

    def find_spec(
        self,
        name: str,
        path: Optional[Sequence[str]] = None,  # noqa: UP045
        target: object = None,
    ) -> Optional[ModuleSpec]:  # noqa: UP045
        """Return where the stage has it; None leaves other names to the usual finders.

        Raises:
            ModuleNotFoundError: one of our names, and not staged.
        """
        del target
        if name.partition(".")[0] not in self._roots:
            return None
        spec = PathFinder.find_spec(name, [self._stage] if path is None else list(path))
        if spec is None:
            message = f"{name} is not staged: add it to the packages of the step's plan"
            raise ModuleNotFoundError(message, name=name)
        return spec


def main(arguments: Sequence[str]) -> None:
    """Guard the imports, then run the guest as a sandbox would."""
    stage, *roots = arguments
    sys.meta_path.insert(0, StagedOnly(stage, roots))
    sys.argv = ["trainbox_guest.main"]
    runpy.run_module("trainbox_guest.main", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
