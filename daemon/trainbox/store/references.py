"""Who refers to a file of the blob store: counted by query over rows, never by a counter.

Each area adds one query to :data:`REFERENCES`; a digest that none of them gives is nobody's, and
the purge may unlink its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from trainbox.store.tables import LIVE
from trainbox.store.transaction import Transaction

REFERENCES: Mapping[str, str] = {
    "datasets": "SELECT digest FROM datasets WHERE purged_at IS NULL",
    # A job that still runs reads the bytes of a dataset even if that was purged under it.
    "live jobs": (
        "SELECT datasets.digest FROM datasets"  # noqa: S608 - a constant
        f" JOIN jobs ON jobs.dataset_id = datasets.id WHERE jobs.{LIVE}"
    ),
    # What a purged model pointed at is given up, though its job still lists it.
    "artifacts": (
        "SELECT digest FROM artifacts"
        " WHERE id NOT IN (SELECT artifact_id FROM models WHERE purged_at IS NOT NULL)"
    ),
    "assets": "SELECT digest FROM assets WHERE deleted_at IS NULL",
    "jobs' files": "SELECT digest FROM job_files",
    "models' directories": (
        "SELECT model_files.digest FROM model_files JOIN models ON models.id = model_files.model_id"
        " WHERE models.purged_at IS NULL"
    ),
}
"""What each kind of row holds on to."""

OLDEST_LIVE_ATTEMPT = f"SELECT min(created_at) AS at FROM attempts WHERE {LIVE}"  # noqa: S608 - a constant


def digests_in_use(tx: Transaction) -> set[str]:
    """Return every digest (``sha256:<hex>``) whose bytes some row needs."""
    return {row["digest"] for sql in REFERENCES.values() for row in tx.all(sql)}


def in_use(tx: Transaction, digest: str) -> bool:
    """Return whether some row needs the bytes of a digest; one look-up per kind of row."""
    return any(
        tx.one(f"SELECT 1 FROM ({sql}) WHERE digest = ?", (digest,))  # noqa: S608 - constants
        for sql in REFERENCES.values()
    )


def oldest_live_attempt(tx: Transaction) -> int | None:
    """Return when the oldest attempt that still moves was made, in microseconds; None for none.

    What it publishes has no row until it succeeds, so no file younger than it is an orphan.
    """
    row = tx.one(OLDEST_LIVE_ATTEMPT)
    at: int | None = row["at"] if row else None
    return at
