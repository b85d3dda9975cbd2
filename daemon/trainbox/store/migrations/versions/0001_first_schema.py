"""The first schema."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATEMENTS = (
    """\
CREATE TABLE audit (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    act TEXT NOT NULL,
    object TEXT NOT NULL,
    note TEXT NOT NULL,
    prev TEXT NOT NULL,
    hash TEXT NOT NULL
)
 STRICT
""",
    """\
CREATE INDEX audit_by_object ON audit (object, seq)
""",
    """\
CREATE TABLE datasets (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    digest TEXT NOT NULL,
    source_format TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    columns TEXT NOT NULL,
    warnings TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (id)
)
 STRICT
""",
    """\
CREATE INDEX datasets_by_digest ON datasets (digest)
""",
    """\
CREATE INDEX datasets_by_name ON datasets (name, seq)
""",
    """\
CREATE INDEX datasets_by_owner ON datasets (owner, seq)
""",
    """\
CREATE TABLE meta (
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY ("key")
)
 WITHOUT ROWID,
 STRICT
""",
    """\
CREATE TABLE tokens (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    secret_sha256 TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    UNIQUE (id)
)
 STRICT
""",
    """\
CREATE TABLE jobs (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    task TEXT NOT NULL,
    dataset_id TEXT,
    params TEXT NOT NULL,
    spec_resources TEXT NOT NULL,
    resources TEXT NOT NULL,
    priority INTEGER NOT NULL,
    labels TEXT NOT NULL,
    backend TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'preparing', 'running', 'collecting', 'verifying', 'succeeded', 'failed', 'cancelled', 'interrupted')),
    reason_code TEXT NOT NULL,
    reason TEXT NOT NULL,
    progress REAL NOT NULL,
    eta_s REAL,
    metrics TEXT NOT NULL,
    model_id TEXT,
    idempotency_key TEXT,
    request_digest TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    CONSTRAINT jobs_once_per_key UNIQUE (owner, idempotency_key),
    CHECK (progress BETWEEN 0 AND 1),
    UNIQUE (id),
    FOREIGN KEY(dataset_id) REFERENCES datasets (id)
)
 STRICT
""",
    """\
CREATE INDEX jobs_by_dataset ON jobs (dataset_id, seq)
""",
    """\
CREATE INDEX jobs_by_owner ON jobs (owner, seq)
""",
    """\
CREATE INDEX jobs_by_owner_state ON jobs (owner, state, seq)
""",
    """\
CREATE INDEX jobs_by_state ON jobs (state, seq)
""",
    """\
CREATE INDEX jobs_by_task ON jobs (task, seq)
""",
    """\
CREATE TABLE events (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    data TEXT NOT NULL,
    FOREIGN KEY(job_id) REFERENCES jobs (id)
)
 STRICT
""",
    """\
CREATE INDEX events_by_job ON events (job_id, seq)
""",
    """\
CREATE TABLE steps (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    name TEXT NOT NULL,
    "plan" TEXT NOT NULL,
    needs TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'preparing', 'running', 'collecting', 'verifying', 'succeeded', 'failed', 'cancelled', 'interrupted')),
    reason_code TEXT NOT NULL,
    reason TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    attempt_id TEXT,
    retries INTEGER NOT NULL,
    cancel_requested INTEGER NOT NULL,
    queued_at INTEGER NOT NULL,
    UNIQUE (job_id, name),
    CONSTRAINT queued_has_no_attempt CHECK ((state = 'queued') <= (attempt_id IS NULL)),
    CONSTRAINT active_has_attempt CHECK ((attempt_id IS NULL) <= (state IN ('queued', 'failed', 'cancelled'))),
    UNIQUE (id),
    FOREIGN KEY(job_id) REFERENCES jobs (id)
)
 STRICT
""",
    """\
CREATE INDEX steps_active ON steps (seq) WHERE state IN ('preparing', 'running', 'collecting', 'verifying')
""",
    """\
CREATE INDEX steps_live ON steps (seq) WHERE state NOT IN ('succeeded', 'failed', 'cancelled', 'interrupted')
""",
    """\
CREATE INDEX steps_waiting ON steps (priority DESC, seq) WHERE state = 'queued'
""",
    """\
CREATE TABLE attempts (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    step_id TEXT NOT NULL,
    number INTEGER NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('queued', 'preparing', 'running', 'collecting', 'verifying', 'succeeded', 'failed', 'cancelled', 'interrupted')),
    environment_ref TEXT NOT NULL,
    deadline_at INTEGER,
    exit_code INTEGER,
    reason_code TEXT NOT NULL,
    reason TEXT NOT NULL,
    peak_memory_bytes INTEGER,
    events_offset INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    started_at INTEGER,
    finished_at INTEGER,
    UNIQUE (step_id, number),
    UNIQUE (id),
    FOREIGN KEY(job_id) REFERENCES jobs (id),
    FOREIGN KEY(step_id) REFERENCES steps (id)
)
 STRICT
""",
    """\
CREATE INDEX attempts_by_job ON attempts (job_id, seq)
""",
    """\
CREATE UNIQUE INDEX attempts_one_live ON attempts (step_id) WHERE state NOT IN ('succeeded', 'failed', 'cancelled', 'interrupted')
""",
    """\
CREATE TABLE artifacts (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    attempt_id TEXT NOT NULL,
    step TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (attempt_id, name),
    UNIQUE (id),
    FOREIGN KEY(job_id) REFERENCES jobs (id),
    FOREIGN KEY(attempt_id) REFERENCES attempts (id)
)
 STRICT
""",
    """\
CREATE INDEX artifacts_by_digest ON artifacts (digest)
""",
    """\
CREATE INDEX artifacts_by_job ON artifacts (job_id, seq)
""",
    """\
CREATE TABLE models (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    owner TEXT NOT NULL,
    job_id TEXT NOT NULL,
    task TEXT NOT NULL,
    artifact_id TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    dataset_id TEXT,
    signature TEXT NOT NULL,
    metrics TEXT NOT NULL,
    parity TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (name, version),
    UNIQUE (id),
    FOREIGN KEY(job_id) REFERENCES jobs (id),
    FOREIGN KEY(artifact_id) REFERENCES artifacts (id),
    FOREIGN KEY(dataset_id) REFERENCES datasets (id)
)
 STRICT
""",
    """\
CREATE INDEX models_by_job ON models (job_id)
""",
    """\
CREATE INDEX models_by_owner ON models (owner, seq)
""",
    """\
CREATE TABLE model_aliases (
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    model_id TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (name, alias),
    FOREIGN KEY(model_id) REFERENCES models (id)
)
 WITHOUT ROWID,
 STRICT
""",
    """\
CREATE INDEX model_aliases_by_model ON model_aliases (model_id)
""",
    """\
CREATE TRIGGER steps_start_queued
BEFORE INSERT ON steps
WHEN NEW.state <> 'queued'
BEGIN SELECT RAISE(ABORT, 'a step starts as queued'); END
""",
    """\
CREATE TRIGGER steps_move_by_the_table
BEFORE UPDATE OF state ON steps
WHEN OLD.state <> NEW.state AND NOT (
      (OLD.state = 'queued' AND NEW.state IN ('preparing', 'failed', 'cancelled'))
   OR (OLD.state = 'preparing' AND NEW.state IN ('running', 'failed', 'cancelled', 'interrupted'))
   OR (OLD.state = 'running' AND NEW.state IN ('collecting', 'failed', 'cancelled', 'interrupted'))
   OR (OLD.state = 'collecting' AND NEW.state IN ('verifying', 'succeeded', 'failed', 'cancelled', 'interrupted'))
   OR (OLD.state = 'verifying' AND NEW.state IN ('succeeded', 'failed', 'cancelled', 'interrupted'))
   OR (OLD.state IN ('failed', 'cancelled', 'interrupted') AND NEW.state = 'queued' AND NEW.retries = OLD.retries + 1))
BEGIN SELECT RAISE(ABORT, 'illegal move of a step'); END
""",
    """\
CREATE TRIGGER steps_retry_only_ended
BEFORE UPDATE OF retries ON steps
WHEN NEW.retries <> OLD.retries AND OLD.state NOT IN ('failed', 'cancelled', 'interrupted')
BEGIN SELECT RAISE(ABORT, 'only an ended step is retried'); END
""",
    """\
CREATE TRIGGER attempts_start_preparing
BEFORE INSERT ON attempts
WHEN NEW.state <> 'preparing'
BEGIN SELECT RAISE(ABORT, 'an attempt starts as preparing'); END
""",
    """\
CREATE TRIGGER attempts_move_by_the_table
BEFORE UPDATE OF state ON attempts
WHEN OLD.state <> NEW.state AND NOT (
      (OLD.state = 'queued' AND NEW.state IN ('preparing', 'failed', 'cancelled'))
   OR (OLD.state = 'preparing' AND NEW.state IN ('running', 'failed', 'cancelled', 'interrupted'))
   OR (OLD.state = 'running' AND NEW.state IN ('collecting', 'failed', 'cancelled', 'interrupted'))
   OR (OLD.state = 'collecting' AND NEW.state IN ('verifying', 'succeeded', 'failed', 'cancelled', 'interrupted'))
   OR (OLD.state = 'verifying' AND NEW.state IN ('succeeded', 'failed', 'cancelled', 'interrupted')))
BEGIN SELECT RAISE(ABORT, 'illegal move of an attempt'); END
""",
    """\
CREATE TRIGGER attempts_frozen_at_the_end
BEFORE UPDATE ON attempts
WHEN OLD.state IN ('succeeded', 'failed', 'cancelled', 'interrupted')
BEGIN SELECT RAISE(ABORT, 'an ended attempt never changes'); END
""",
    """\
CREATE TRIGGER events_no_update
BEFORE UPDATE ON events
BEGIN SELECT RAISE(ABORT, 'events is append-only'); END
""",
    """\
CREATE TRIGGER events_no_delete
BEFORE DELETE ON events
BEGIN SELECT RAISE(ABORT, 'events is append-only'); END
""",
    """\
CREATE TRIGGER audit_no_update
BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END
""",
    """\
CREATE TRIGGER audit_no_delete
BEFORE DELETE ON audit
BEGIN SELECT RAISE(ABORT, 'audit is append-only'); END
""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
