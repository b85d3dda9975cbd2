"""Names of models per owner, aliases with a history, trash, and each model's directory."""

from alembic import op

revision, down_revision = "0004", "0003"

STATEMENTS: tuple[str, ...] = (
    "DROP INDEX models_by_job",
    "DROP INDEX models_by_owner",
    "DROP INDEX model_aliases_by_model",
    "ALTER TABLE models RENAME TO models_0001",
    "ALTER TABLE model_aliases RENAME TO model_aliases_0001",
    """\
CREATE TABLE model_alias_changes (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    act TEXT NOT NULL,
    from_version INTEGER,
    to_version INTEGER,
    who TEXT NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL
)
 STRICT
""",
    """\
CREATE INDEX model_alias_changes_by_alias ON model_alias_changes (owner, name, alias, seq)
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
    facts TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    trashed_at INTEGER,
    purged_at INTEGER,
    UNIQUE (owner, name, version),
    UNIQUE (id),
    FOREIGN KEY(job_id) REFERENCES jobs (id),
    FOREIGN KEY(artifact_id) REFERENCES artifacts (id),
    FOREIGN KEY(dataset_id) REFERENCES datasets (id)
)
 STRICT
""",
    """\
CREATE INDEX models_by_digest ON models (digest)
""",
    """\
CREATE INDEX models_by_job ON models (job_id)
""",
    """\
CREATE INDEX models_by_name ON models (name, seq)
""",
    """\
CREATE INDEX models_by_owner ON models (owner, seq)
""",
    """\
CREATE TABLE model_aliases (
    owner TEXT NOT NULL,
    name TEXT NOT NULL,
    alias TEXT NOT NULL,
    model_id TEXT NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (owner, name, alias),
    FOREIGN KEY(model_id) REFERENCES models (id)
)
 WITHOUT ROWID,
 STRICT
""",
    """\
CREATE INDEX model_aliases_by_model ON model_aliases (model_id)
""",
    """\
CREATE TABLE model_files (
    model_id TEXT NOT NULL,
    path TEXT NOT NULL,
    digest TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (model_id, path),
    FOREIGN KEY(model_id) REFERENCES models (id)
)
 WITHOUT ROWID,
 STRICT
""",
    """\
CREATE INDEX model_files_by_digest ON model_files (digest)
""",
    """\
CREATE TRIGGER model_alias_changes_no_update
BEFORE UPDATE ON model_alias_changes
BEGIN SELECT RAISE(ABORT, 'model_alias_changes is append-only'); END
""",
    """\
CREATE TRIGGER model_alias_changes_no_delete
BEFORE DELETE ON model_alias_changes
BEGIN SELECT RAISE(ABORT, 'model_alias_changes is append-only'); END
""",
    """\
INSERT INTO models
SELECT seq, id, name, version, owner, job_id, task, artifact_id, digest, bytes, dataset_id,
    signature, metrics, parity, '{}', created_at, NULL, NULL
FROM models_0001 ORDER BY seq
""",
    """\
INSERT INTO model_aliases
SELECT models.owner, old.name, old.alias, old.model_id, old.updated_at
FROM model_aliases_0001 AS old JOIN models ON models.id = old.model_id
""",
    # An alias that there is begins its history; who set it is in the audit log alone.
    """\
INSERT INTO model_alias_changes
    (owner, name, alias, act, from_version, to_version, who, reason, at)
SELECT aliases.owner, aliases.name, aliases.alias, 'set', NULL, models.version,
    aliases.owner, '', aliases.updated_at
FROM model_aliases AS aliases JOIN models ON models.id = aliases.model_id
ORDER BY aliases.updated_at, aliases.name, aliases.alias
""",
    "DROP TABLE model_aliases_0001",
    "DROP TABLE models_0001",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
