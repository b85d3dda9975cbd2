"""Why a store cannot be opened or go on; for the operator, not for a caller of the API."""

from __future__ import annotations

from pathlib import Path


class StoreError(RuntimeError):
    """The store refuses to start. The message names the file, the cause and a way out.

    Attributes:
        path: the file or directory it is about.
        cause: what was found.
        remedy: what to do, with the command where there is one.
    """

    def __init__(self, path: Path, cause: str, remedy: str = "") -> None:
        super().__init__(f"{path}: {cause}" + (f"\n{remedy}" if remedy else ""))
        self.path = path
        self.cause = cause
        self.remedy = remedy
