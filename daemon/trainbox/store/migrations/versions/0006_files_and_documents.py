"""Uploaded files, documents of surfaces, rules that ride with a job, and what held a sandbox.

``jobs`` and ``attempts`` are made anew for their new columns. Their rows go aside and come back, so
that the tables keep their names in the text of those that refer to them.
"""

from alembic import op

revision, down_revision = "0006", "0005"

STATEMENTS: tuple[str, ...] = (
    "CREATE TEMP TABLE jobs_aside AS SELECT * FROM jobs",
    "DROP TABLE jobs",
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
    duration_us INTEGER,
    identity TEXT NOT NULL,
    deleted_at INTEGER,
    exclusive_key TEXT NOT NULL,
    at_end TEXT NOT NULL,
    CONSTRAINT jobs_once_per_key UNIQUE (owner, idempotency_key),
    CHECK (progress BETWEEN 0 AND 1),
    UNIQUE (id),
    FOREIGN KEY(dataset_id) REFERENCES datasets (id)
)
 STRICT
""",
    "INSERT INTO jobs SELECT aside.*, '', '{}' FROM jobs_aside AS aside ORDER BY seq",
    "DROP TABLE jobs_aside",
    """\
CREATE INDEX jobs_by_backend ON jobs (backend, seq)
""",
    """\
CREATE INDEX jobs_by_created ON jobs (created_at, seq)
""",
    """\
CREATE INDEX jobs_by_dataset ON jobs (dataset_id, seq)
""",
    """\
CREATE INDEX jobs_by_duration ON jobs (duration_us, seq) WHERE duration_us IS NOT NULL
""",
    """\
CREATE INDEX jobs_by_finished ON jobs (finished_at, seq) WHERE finished_at IS NOT NULL
""",
    """\
CREATE INDEX jobs_by_identity ON jobs (identity, owner, state, seq) WHERE identity <> ''
""",
    """\
CREATE INDEX jobs_by_name ON jobs (name, seq)
""",
    """\
CREATE INDEX jobs_by_owner ON jobs (owner, seq)
""",
    """\
CREATE INDEX jobs_by_owner_duration ON jobs (owner, duration_us, seq) WHERE duration_us IS NOT NULL
""",
    """\
CREATE INDEX jobs_by_owner_finished ON jobs (owner, finished_at, seq) WHERE finished_at IS NOT NULL
""",
    """\
CREATE INDEX jobs_by_owner_priority ON jobs (owner, priority, seq)
""",
    """\
CREATE INDEX jobs_by_owner_state ON jobs (owner, state, seq)
""",
    """\
CREATE INDEX jobs_by_priority ON jobs (priority, seq)
""",
    """\
CREATE INDEX jobs_by_state ON jobs (state, seq)
""",
    """\
CREATE INDEX jobs_by_task ON jobs (task, seq)
""",
    """\
CREATE UNIQUE INDEX jobs_exclusive ON jobs (owner, exclusive_key) WHERE exclusive_key <> '' AND state NOT IN ('succeeded', 'failed', 'cancelled', 'interrupted')
""",
    """\
CREATE INDEX jobs_names ON jobs (seq, owner, name, deleted_at)
""",
    "CREATE TEMP TABLE attempts_aside AS SELECT * FROM attempts",
    "DROP TABLE attempts",  # with its triggers
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
    cpu_s REAL,
    peak_cpus REAL,
    confinement TEXT NOT NULL,
    UNIQUE (step_id, number),
    UNIQUE (id),
    FOREIGN KEY(job_id) REFERENCES jobs (id),
    FOREIGN KEY(step_id) REFERENCES steps (id)
)
 STRICT
""",
    "INSERT INTO attempts"
    " SELECT aside.*, NULL, NULL, '{}' FROM attempts_aside AS aside ORDER BY seq",
    "DROP TABLE attempts_aside",
    """\
CREATE INDEX attempts_by_job ON attempts (job_id, seq)
""",
    """\
CREATE UNIQUE INDEX attempts_one_live ON attempts (step_id) WHERE state NOT IN ('succeeded', 'failed', 'cancelled', 'interrupted')
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
CREATE TABLE job_files (
    job_seq INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (job_seq, digest),
    FOREIGN KEY(job_seq) REFERENCES jobs (seq)
)
 WITHOUT ROWID,
 STRICT
""",
    """\
CREATE INDEX job_files_by_digest ON job_files (digest)
""",
    """\
CREATE TABLE assets (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    filename TEXT NOT NULL,
    kind TEXT NOT NULL,
    grp TEXT NOT NULL,
    description TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    deleted_at INTEGER,
    CHECK (bytes > 0),
    UNIQUE (id)
)
 STRICT
""",
    """\
CREATE INDEX assets_by_digest ON assets (digest)
""",
    """\
CREATE INDEX assets_by_group ON assets (grp, owner, seq) WHERE deleted_at IS NULL
""",
    """\
CREATE INDEX assets_by_owner ON assets (owner, seq) WHERE deleted_at IS NULL
""",
    """\
CREATE TABLE documents (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    space TEXT NOT NULL,
    kind TEXT NOT NULL,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    grp TEXT NOT NULL,
    name TEXT NOT NULL,
    revision INTEGER NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (space, kind, id),
    CHECK (revision > 0)
)
 STRICT
""",
    """\
CREATE INDEX documents_by_group ON documents (space, kind, grp, seq) WHERE grp <> ''
""",
    """\
CREATE INDEX documents_by_kind ON documents (space, kind, seq)
""",
    """\
CREATE INDEX documents_by_owner ON documents (space, kind, owner, seq)
""",
    """\
CREATE UNIQUE INDEX documents_names ON documents (space, kind, owner, name) WHERE name <> ''
""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
