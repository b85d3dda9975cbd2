"""Where the store keeps what under the state directory."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

BACKUPS_KEPT = 5


@dataclass(frozen=True)
class Layout:
    """The files of one state directory.

    Attributes:
        database: the rows; beside it SQLite's ``-wal`` and ``-shm``.
        marker: says which instance lives here, and so that a database must exist.
        lock: held by the daemon that runs.
        clean: exists while the store is closed and was closed well.
        backups: copies, newest last by name.
        anchors: heads of the audit log as they were, one per line.
    """

    root: Path

    @property
    def database(self) -> Path:  # noqa: D102 - the class says it
        return self.root / "trainbox.db"

    @property
    def marker(self) -> Path:  # noqa: D102 - the class says it
        return self.root / "instance.json"

    @property
    def lock(self) -> Path:  # noqa: D102 - the class says it
        return self.root / "trainbox.lock"

    @property
    def clean(self) -> Path:  # noqa: D102 - the class says it
        return self.root / "clean-stop"

    @property
    def backups(self) -> Path:  # noqa: D102 - the class says it
        return self.root / "backups"

    @property
    def anchors(self) -> Path:  # noqa: D102 - the class says it
        return self.root / "audit-anchors.jsonl"

    def sidecars(self) -> tuple[Path, Path]:
        """Return the names of SQLite's write-ahead log and its index."""
        name = self.database.name
        return self.root / f"{name}-wal", self.root / f"{name}-shm"

    def newest_backup(self) -> Path | None:
        """Return the newest whole backup; a half-made one never has the name."""
        return max(self.backups.glob("trainbox-*.db"), default=None)

    def way_back(self) -> str:
        """Return what an operator does when the database is lost or damaged."""
        backup = self.newest_backup()
        if backup is None:
            return (
                f"There is no backup in {self.backups}. Put the database back from your own copy;"
                f" to start anew and lose what was here, move the whole of {self.root} away."
            )
        root, database = shlex.quote(str(self.root)), shlex.quote(str(self.database))
        return (
            f"The newest backup is {backup}. To go back to it (jobs since then are lost):\n"
            f"  mkdir -p {root}/damaged && mv {database}* {root}/damaged/ ;"
            f" cp --preserve=all {shlex.quote(str(backup))} {database}"
        )
