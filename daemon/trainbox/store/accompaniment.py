"""What is written with a new job, or not at all: a rule, uploaded files, documents, audit lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from trainbox.store import acts, documents
from trainbox.store.tables import LIVE
from trainbox.store.transaction import Transaction
from trainbox_sdk.calls.jobs import ALONE
from trainbox_sdk.documents import Along
from trainbox_sdk.errors import Conflict, FieldError, ValidationFailed
from trainbox_sdk.tasks import PlanFile, StepPlan

EXCLUSIVE_SQL = f"""
SELECT id FROM jobs
 WHERE owner = :owner AND exclusive_key = :exclusive_key AND exclusive_key <> '' AND {LIVE}
   AND id <> :id
"""  # noqa: S608 - a constant
KEPT_ASSET_SQL = """
SELECT 1 FROM assets WHERE id = :asset AND digest = :digest AND deleted_at IS NULL
"""
HOLD_SQL = """
INSERT OR IGNORE INTO job_files (job_seq, digest) SELECT seq, :digest FROM jobs WHERE id = :job_id
"""


@dataclass(frozen=True)
class Accompaniment:
    """An :class:`~trainbox_sdk.documents.Along` ready to be written."""

    along: Along
    at_end: str
    writes: Sequence[documents.EncodedWrite]
    files: Sequence[PlanFile]

    def write(self, tx: Transaction, job_id: str, who: str) -> None:
        """Write everything but the job's own row, which is there already.

        Raises:
            ValidationFailed: an asset was deleted meanwhile.
            Conflict: as :func:`trainbox.store.documents.apply`.
        """
        for file in self.files:
            hold(tx, job_id, file)
        if self.writes:
            documents.apply(tx, self.writes)
        acts.write(tx, who, self.along.acts, this=job_id)


NOTHING = Accompaniment(ALONE, "{}", (), ())
"""What most jobs have beside them; made once, since every submission pays for it."""


def prepare(along: Along, steps: Sequence[StepPlan]) -> Accompaniment:
    """Encode what rides along.

    Raises:
        ValidationFailed: a document's body cannot be stored.
        ValueError: a line for an end that no job has.
    """
    if along is ALONE and not any(step.files for step in steps):
        return NOTHING
    files = {(file.asset, file.digest): file for step in steps for file in step.files}
    return Accompaniment(
        along, acts.dump_at_end(along.at_end), documents.encode(along.writes), list(files.values())
    )


def hold(tx: Transaction, job_id: str, file: PlanFile) -> None:
    """Keep a file's bytes for as long as the job is there.

    Raises:
        ValidationFailed: the asset was deleted since it was looked up.
    """
    if tx.one(KEPT_ASSET_SQL, vars(file)) is None:
        raise no_asset(file.asset, ("params", "assets"))
    tx.execute(HOLD_SQL, {"job_id": job_id, "digest": file.digest})


def no_asset(asset: str, loc: tuple[str | int, ...]) -> ValidationFailed:
    """Return the refusal of a job that names an asset which is not there."""
    problem = FieldError(loc, f"no asset {asset[:80]!r}", "list yours with GET /v1/assets")
    message = f"{'.'.join(map(str, loc))}: {problem.msg}"
    return ValidationFailed(message, hint=problem.hint, errors=[problem])


def require_alone(tx: Transaction, job: Mapping[str, Any]) -> None:
    """Refuse a job beside another live one with its key; the unique index would refuse it too.

    Args:
        tx: the transaction.
        job: ``id``, ``owner`` and ``exclusive_key``.

    Raises:
        Conflict: naming the other job.
    """
    other = tx.one(EXCLUSIVE_SQL, job) if job["exclusive_key"] else None
    if other is not None:
        raise Conflict(
            f"job {other['id']} has not ended, and only one of its kind may run at a time",
            code="job_exclusive",
            hint=f"wait for it, or cancel it: POST /v1/jobs/{other['id']}/cancel",
        )
