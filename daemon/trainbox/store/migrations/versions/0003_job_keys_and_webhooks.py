"""Identical jobs, webhooks and their deliveries.

``jobs`` is made anew for three columns. Its rows go aside and come back, so that the table keeps its
name in the text of those that refer to it.
"""

from alembic import op

revision, down_revision = "0003", "0002"

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
    CONSTRAINT jobs_once_per_key UNIQUE (owner, idempotency_key),
    CHECK (progress BETWEEN 0 AND 1),
    UNIQUE (id),
    FOREIGN KEY(dataset_id) REFERENCES datasets (id)
)
 STRICT
""",
    """\
INSERT INTO jobs
SELECT aside.*,
    CASE WHEN state IN ('succeeded', 'failed', 'cancelled', 'interrupted')
         THEN MAX(finished_at - started_at, 0) END,
    '', NULL
FROM jobs_aside AS aside ORDER BY seq
""",
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
CREATE INDEX jobs_names ON jobs (seq, owner, name, deleted_at)
""",
    """\
CREATE TABLE webhook_messages (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (id)
)
 STRICT
""",
    """\
CREATE TABLE webhooks (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    everyone INTEGER NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    reason TEXT NOT NULL,
    secret TEXT NOT NULL,
    old_secret TEXT,
    old_secret_until INTEGER,
    failing_since INTEGER,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (id)
)
 STRICT
""",
    """\
CREATE INDEX webhooks_by_owner ON webhooks (owner, seq)
""",
    """\
CREATE INDEX webhooks_by_state ON webhooks (state, seq)
""",
    """\
CREATE TABLE job_labels (
    "key" TEXT NOT NULL,
    value TEXT NOT NULL,
    job_seq INTEGER NOT NULL,
    PRIMARY KEY ("key", value, job_seq),
    FOREIGN KEY(job_seq) REFERENCES jobs (seq)
)
 WITHOUT ROWID,
 STRICT
""",
    """\
CREATE INDEX job_labels_by_job ON job_labels (job_seq)
""",
    """\
CREATE INDEX job_labels_by_key ON job_labels ("key", job_seq)
""",
    """\
CREATE TABLE webhook_deliveries (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    message_seq INTEGER NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    tries TEXT NOT NULL,
    next_attempt_at INTEGER,
    created_at INTEGER NOT NULL,
    finished_at INTEGER,
    UNIQUE (id),
    FOREIGN KEY(webhook_id) REFERENCES webhooks (id),
    FOREIGN KEY(message_seq) REFERENCES webhook_messages (seq)
)
 STRICT
""",
    """\
CREATE INDEX webhook_deliveries_by_message ON webhook_deliveries (message_seq)
""",
    """\
CREATE INDEX webhook_deliveries_by_webhook ON webhook_deliveries (webhook_id, seq)
""",
    """\
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_attempt_at) WHERE next_attempt_at IS NOT NULL
""",
    """\
CREATE INDEX webhook_deliveries_ended ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL
""",
    """\
INSERT INTO job_labels
SELECT label."key", label.value, jobs.seq FROM jobs, json_each(jobs.labels) AS label
""",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
