"""Names with versions, trash and resumable uploads of datasets."""

from alembic import op

revision, down_revision = "0002", "0001"

# A table under its final name, filled from a copy: a renamed one would be spelt with quotes.
STATEMENTS: tuple[str, ...] = (
    "CREATE TABLE datasets_0001 AS SELECT * FROM datasets ORDER BY seq",
    "DROP TABLE datasets",
    """\
CREATE TABLE datasets (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    version INTEGER NOT NULL,
    digest TEXT NOT NULL,
    source_format TEXT NOT NULL,
    source_digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    columns TEXT NOT NULL,
    warnings TEXT NOT NULL,
    description TEXT NOT NULL,
    labels TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    trashed_at INTEGER,
    purged_at INTEGER,
    UNIQUE (owner, name, version),
    CHECK (version > 0),
    CONSTRAINT purged_is_trash CHECK ((purged_at IS NULL) OR (trashed_at IS NOT NULL)),
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
CREATE TABLE dataset_keys (
    owner TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    dataset_id TEXT NOT NULL,
    PRIMARY KEY (owner, idempotency_key),
    FOREIGN KEY(dataset_id) REFERENCES datasets (id)
)
 WITHOUT ROWID,
 STRICT
""",
    """\
CREATE INDEX dataset_keys_by_dataset ON dataset_keys (dataset_id)
""",
    """\
CREATE TABLE dataset_profiles (
    dataset_id TEXT NOT NULL,
    profile TEXT NOT NULL,
    PRIMARY KEY (dataset_id),
    FOREIGN KEY(dataset_id) REFERENCES datasets (id)
)
 STRICT
""",
    """\
CREATE TABLE uploads (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    format TEXT NOT NULL,
    filename TEXT NOT NULL,
    metadata_header TEXT NOT NULL,
    options TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    received INTEGER NOT NULL,
    state TEXT NOT NULL,
    dataset_id TEXT,
    replayed INTEGER NOT NULL,
    failure TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    CHECK (state IN ('receiving', 'ingesting', 'done', 'failed')),
    CHECK (received BETWEEN 0 AND bytes),
    UNIQUE (id),
    FOREIGN KEY(dataset_id) REFERENCES datasets (id)
)
 STRICT
""",
    """\
CREATE INDEX uploads_by_expiry ON uploads (expires_at)
""",
    """\
CREATE INDEX uploads_by_owner ON uploads (owner, seq)
""",
    # Several uploads of one name become its versions, in the order they came.
    """\
INSERT INTO datasets
SELECT seq, id, name, row_number() OVER (PARTITION BY owner, name ORDER BY seq), digest,
    source_format, '', bytes, rows, columns, warnings, '', '{}', owner, created_at, NULL, NULL
FROM datasets_0001 ORDER BY seq
""",
    "DROP TABLE datasets_0001",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
