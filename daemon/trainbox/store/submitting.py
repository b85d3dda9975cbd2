"""A new job: everything is encoded before it reaches the writer, which only binds and inserts."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import Any

from trainbox.ids import new_id
from trainbox.store import accompaniment, codec, outbox
from trainbox.store.accompaniment import Accompaniment
from trainbox.store.records import NewJob
from trainbox.store.tables import JobRow, StepRow
from trainbox.store.times import moment, now_micros
from trainbox.store.transaction import Transaction, insert_sql
from trainbox_sdk.errors import IdempotencyClash, NotFound
from trainbox_sdk.jobs import JobView, State, StepView
from trainbox_sdk.tasks import StepPlan

INSERT_ONCE = f"{insert_sql(JobRow)} ON CONFLICT (owner, idempotency_key) DO NOTHING"

BY_KEY_SQL = """
SELECT id, request_digest FROM jobs WHERE owner = :owner AND idempotency_key = :idempotency_key
"""
# One that succeeded, else the one furthest along, a newer before an older. A seek per state:
# one query over all of them would sort every identical job there is, at every submission.
ONE_IDENTICAL_SQL = """
SELECT * FROM (
  SELECT id FROM jobs INDEXED BY jobs_by_identity
   WHERE identity = :identity AND identity <> '' AND owner = :owner AND state = '{state}'
     AND deleted_at IS NULL
     AND (model_id IS NULL OR EXISTS (SELECT 1 FROM models WHERE models.id = jobs.model_id
                                                             AND models.trashed_at IS NULL))
   ORDER BY seq DESC LIMIT 1)
"""
REUSABLE = (State.SUCCEEDED, *(state for state in reversed(State) if not state.terminal))
IDENTICAL_SQL = (
    " UNION ALL ".join(ONE_IDENTICAL_SQL.format(state=state) for state in REUSABLE) + " LIMIT 1"
)
FORGET_LABELS_SQL = "DELETE FROM job_labels WHERE job_seq = (SELECT seq FROM jobs WHERE id = ?)"
LABEL_SQL = """
INSERT INTO job_labels ("key", value, job_seq) SELECT ?, ?, seq FROM jobs WHERE id = ?
"""


@dataclass(frozen=True)
class Stored:
    """What became of a submission; ``job_id`` None: it was stored as it is."""

    job_id: str | None = None
    replayed: bool = False
    reused: bool = False
    identical_to: str | None = None


@dataclass(frozen=True)
class Submission:
    """A job ready to be inserted, and how it will look."""

    new: NewJob
    note: str
    job: Mapping[str, Any]
    steps: Sequence[Mapping[str, Any]]
    beside: Accompaniment
    view: JobView

    @property
    def actor(self) -> str:
        """Who the audit log names."""
        return self.new.actor or self.new.owner

    def insert(self, tx: Transaction) -> Stored:
        """Insert job, steps, event and audit; or find the earlier job that is the answer.

        Raises:
            IdempotencyClash: the key came before with another request.
            NotFound: no such dataset.
            Conflict: another live job has its exclusive key, or a document changed meanwhile.
            ValidationFailed: an asset was deleted meanwhile.
        """
        if self.new.reuse:
            return self._reuse(tx) or self._insert(tx, None)
        return self._insert(tx, self._identical(tx))

    def _insert(self, tx: Transaction, identical_to: str | None) -> Stored:
        if self.new.along.exclusive:
            # A key sent again has its own job's answer, though that one may be alive.
            if tx.one(BY_KEY_SQL, self.job) is not None:
                return self._replay(tx)
            accompaniment.require_alone(tx, self.job)
        try:
            inserted = tx.changed(INSERT_ONCE, self.job)
        except sqlite3.IntegrityError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
                raise
            raise NotFound(
                f"there is no dataset {self.new.spec.dataset_id}", code="dataset_not_found"
            ) from error
        if not inserted:
            return self._replay(tx)
        label(tx, self.new.id, self.new.spec.labels)
        for step in self.steps:
            tx.insert(StepRow, step)
        queued = State.QUEUED.value
        state = {"step": None, "attempt": 0, "state": queued, "job_state": queued}
        tx.event(self.new.id, "state", {**state, "reason_code": "", "reason": ""})
        tx.audit(self.actor, "job.submit", self.new.id, self.note)
        if self.beside is not accompaniment.NOTHING:
            self.beside.write(tx, self.new.id, self.actor)
        outbox.tell_of_job(tx, self.new.id)
        return Stored(identical_to=identical_to)

    def _identical(self, tx: Transaction) -> str | None:
        if not self.new.identity:
            return None
        found = tx.one(IDENTICAL_SQL, self.job)
        return str(found["id"]) if found else None

    def _reuse(self, tx: Transaction) -> Stored | None:
        """Return the identical job; the same key sent again has its own job as ever."""
        if tx.one(BY_KEY_SQL, self.job) is not None:
            return self._replay(tx)
        found = self._identical(tx)
        if found is None:
            return None
        tx.audit(self.actor, "job.reuse", found, self.note)
        return Stored(found, reused=True, identical_to=found)

    def _replay(self, tx: Transaction) -> Stored:
        earlier = tx.one(BY_KEY_SQL, self.job)
        assert earlier is not None
        if earlier["request_digest"] != self.new.request_digest:
            raise IdempotencyClash(
                f"the idempotency key {self.new.idempotency_key!r} was used for another request,"
                f" which made {earlier['id']}",
                hint="send the same request again, or take a new key",
            )
        return Stored(str(earlier["id"]), replayed=True)


def prepare(new: NewJob, note: str) -> Submission:
    """Encode a job.

    Raises:
        ValueError: no step, two of a name, an unknown or circular ``after``, a value that JSON
            does not have, or a line for an end that no job has.
        ValidationFailed: a document's body cannot be stored.
    """
    require_a_graph(new.steps)
    now = now_micros()
    ids = [new_id("stp") for _ in new.steps]
    steps = [
        _step_values(new, position, step_id, plan, now)
        for position, (step_id, plan) in enumerate(zip(ids, new.steps, strict=True))
    ]
    beside = accompaniment.prepare(new.along, new.steps)
    job = _job_values(new, beside, now)
    return Submission(new, note, job, steps, beside, _view(new, ids, now))


def require_a_graph(steps: Sequence[StepPlan]) -> None:
    """Raise ValueError unless the steps have distinct names and form an acyclic graph."""
    names = [step.name for step in steps]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"a plan needs steps of distinct names, not {names}")
    for step in steps:
        if unknown := set(step.after) - set(names):
            raise ValueError(f"step {step.name} waits for unknown steps {sorted(unknown)}")
    # CycleError is a ValueError that names the circle.
    TopologicalSorter({step.name: step.after for step in steps}).prepare()


def label(tx: Transaction, job_id: str, labels: Mapping[str, str]) -> None:
    """Make the labels of a job findable, in place of those it had."""
    tx.execute(FORGET_LABELS_SQL, (job_id,))
    for key, value in labels.items():
        tx.execute(LABEL_SQL, (key, value, job_id))


def _job_values(new: NewJob, beside: Accompaniment, now: int) -> dict[str, Any]:
    spec = new.spec
    return {
        "id": new.id,
        "owner": new.owner,
        "name": spec.name,
        "task": spec.task,
        "dataset_id": spec.dataset_id,
        "params": codec.dump(spec.params),
        "spec_resources": codec.dump(spec.resources),
        "resources": codec.dump_resources(new.resources),
        "priority": spec.priority,
        "labels": codec.dump(spec.labels),
        "backend": new.backend,
        "state": State.QUEUED.value,
        "reason_code": "",
        "reason": "",
        "progress": 0.0,
        "eta_s": None,
        "metrics": "{}",
        "model_id": None,
        "idempotency_key": new.idempotency_key,
        "request_digest": new.request_digest,
        "created_at": now,
        "started_at": None,
        "finished_at": None,
        "duration_us": None,
        "identity": new.identity,
        "deleted_at": None,
        "exclusive_key": new.along.exclusive,
        "at_end": beside.at_end,
    }


def _step_values(
    new: NewJob, position: int, step_id: str, plan: StepPlan, now: int
) -> dict[str, Any]:
    return {
        "id": step_id,
        "job_id": new.id,
        "position": position,
        "priority": new.spec.priority,
        "name": plan.name,
        "plan": codec.dump_plan(plan),
        "needs": codec.dump(plan.after),
        "state": State.QUEUED.value,
        "reason_code": "",
        "reason": "",
        "attempt": 0,
        "attempt_id": None,
        "retries": 0,
        "cancel_requested": 0,
        "queued_at": now,
    }


def _view(new: NewJob, step_ids: Sequence[str], now: int) -> JobView:
    spec = new.spec
    return JobView(
        id=new.id,
        name=spec.name,
        task=spec.task,
        state=State.QUEUED,
        reason_code="",
        reason="",
        dataset_id=spec.dataset_id,
        params=spec.params,
        resources=new.resources,
        priority=spec.priority,
        labels=spec.labels,
        backend=new.backend,
        owner=new.owner,
        created_at=moment(now),
        started_at=None,
        finished_at=None,
        progress=0.0,
        eta_s=None,
        metrics={},
        model_id=None,
        steps=tuple(
            StepView(step_id, plan.name, State.QUEUED, "", "", plan.after, ())
            for step_id, plan in zip(step_ids, new.steps, strict=True)
        ),
    )
