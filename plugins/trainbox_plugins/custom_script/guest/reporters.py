"""Listens for what libraries report, once a script imports one that does."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from trainbox_guest.meter import Meter

REPORTERS = frozenset({"transformers", "kubeflow"})


class ListenOnImport:
    """A finder of modules that finds none: it listens once a module that reports is looked for.

    A script that imports none of them has no listener, no thread and no import to pay for.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: Any = None
    ) -> None:
        """Leave the search to the other finders."""
        del path, target
        if fullname in REPORTERS:
            sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self]
            from trainbox_guest import kubeflow

            kubeflow.listen(self._meter)
