"""Why a store cannot be opened or go on; for the operator, not for a caller of the API."""

from __future__ import annotations

from pathlib import Path

from trainbox_sdk.errors import TrainboxError


class StoreError(TrainboxError):
    """The store refuses to start. The message names the file, the cause and a way out.

    Attributes:
        path: the file or directory it is about.
        cause: what was found.
        remedy: what to do, with the command where there is one.
    """

    default_code = "store_unusable"

    def __init__(self, path: Path, cause: str, remedy: str = "") -> None:
        super().__init__(f"{path}: {cause}", hint=remedy)
        self.path = path
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        """Return cause and remedy: a log line has no other place for the way out."""
        return self.message + (f"\n{self.remedy}" if self.remedy else "")
