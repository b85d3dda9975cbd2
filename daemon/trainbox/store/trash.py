"""The trash: what lies in it, what still needs it, and giving up what nothing needs.

Each area adds one :class:`TrashKind`. Rows stay as tombstones; only bytes go, and only by
:func:`trainbox.store.references.digests_in_use`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trainbox.store.references import digests_in_use, oldest_live_attempt
from trainbox.store.tables import LIVE
from trainbox.store.transaction import Transaction
from trainbox.store.writer import Writer
from trainbox_sdk.uploads import Kept, Purged


@dataclass(frozen=True)
class TrashKind:
    """How one kind of thing is given up.

    Attributes:
        kind: what people call it.
        waiting: SELECT of ``id, name, version, digest, reason`` over what was trashed by
            ``:before`` (microseconds) and is not purged; ``reason`` says why it must stay, else
            NULL.
        forget: statements with ``:id`` and ``:now`` that leave the tombstone.
    """

    kind: str
    waiting: str
    forget: tuple[str, ...]


DATASETS = TrashKind(
    "dataset",
    f"""
SELECT d.id, d.name, d.version, d.digest,
       (SELECT 'job ' || j.id || ' has not ended and reads it' FROM jobs AS j
         WHERE j.dataset_id = d.id AND j.{LIVE} LIMIT 1) AS reason
  FROM datasets AS d
 WHERE d.trashed_at <= :before AND d.purged_at IS NULL ORDER BY d.seq
""",  # noqa: S608 - constants
    (
        # Names and types stay; what was seen of the values does not.
        """
UPDATE datasets SET purged_at = :now, warnings = '[]', description = '', labels = '{}',
       columns = (SELECT json_group_array(json_set(value, '$.min', NULL, '$.max', NULL,
                                                   '$.examples', json('[]')))
                    FROM json_each(datasets.columns))
 WHERE id = :id
""",
        "DELETE FROM dataset_profiles WHERE dataset_id = :id",
        "DELETE FROM dataset_keys WHERE dataset_id = :id",
    ),
)
MODELS = TrashKind(
    "model",
    """
SELECT id, name, version, digest, NULL AS reason FROM models
 WHERE trashed_at <= :before AND purged_at IS NULL ORDER BY seq
""",
    (
        "DELETE FROM model_files WHERE model_id = :id",
        # The row stays, so that its number is never given again; what is told of the data goes.
        "UPDATE models SET purged_at = :now, facts = '{}' WHERE id = :id",
    ),
)
KINDS: Sequence[TrashKind] = (DATASETS, MODELS)


@dataclass(frozen=True)
class Emptied:
    """What a purge decided, over rows alone.

    Attributes:
        in_use: digests that rows need afterwards.
        oldest_attempt_at: files younger than this (microseconds) may be a running step's; None
            where nothing runs.
    """

    purged: tuple[Purged, ...]
    kept: tuple[Kept, ...]
    in_use: frozenset[str]
    oldest_attempt_at: int | None


class TrashStore:
    """Empties the trash."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def empty(self, *, older_than_s: float, dry_run: bool, who: str) -> Emptied:
        """Turn what was trashed that long ago into tombstones and say which digests stay in use.

        Args:
            older_than_s: seconds in the trash.
            dry_run: look only: ``in_use`` is then as if it had been done.
            who: for the audit log.
        """

        def empty(tx: Transaction) -> Emptied:
            if dry_run:
                tx.execute("SAVEPOINT dry")
            emptied = _empty(tx, tx.now - int(older_than_s * 1e6))
            if dry_run:
                tx.execute("ROLLBACK TO dry")
                tx.execute("RELEASE dry")
            else:
                for each in emptied.purged:
                    tx.audit(who, f"{each.kind}.purge", each.id, each.digest)
                tx.audit(who, "trash.purge", "", f"{len(emptied.purged)} things")
            return emptied

        return await self._writer.write(empty)

    async def in_use(self) -> frozenset[str]:
        """Return the digests that rows need now."""
        return await self._writer.write(lambda tx: frozenset(digests_in_use(tx)))


def _empty(tx: Transaction, before: int) -> Emptied:
    purged, kept = [], []
    for kind in KINDS:
        for row in tx.all(kind.waiting, {"before": before}):
            thing = (kind.kind, row["id"], row["name"], row["version"])
            if row["reason"] is not None:
                kept.append(Kept(*thing, row["reason"]))
                continue
            for statement in kind.forget:
                tx.execute(statement, {"id": row["id"], "now": tx.now})
            purged.append(Purged(*thing, row["digest"]))
    in_use = frozenset(digests_in_use(tx))
    return Emptied(tuple(purged), tuple(kept), in_use, oldest_live_attempt(tx))
