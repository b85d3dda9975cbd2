"""Tokens speak for a subject and can be rotated; audit rows say where an act came from.

Until now a token's name was what its things were owned by: it becomes the subject. Of live tokens
that share a name all but the newest get their number added, since names are unique from here on.
"""

from alembic import op

revision, down_revision = "0005", "0004"

STATEMENTS: tuple[str, ...] = (
    "DROP INDEX audit_by_object",
    "ALTER TABLE audit RENAME TO audit_before_0005",
    """\
CREATE TABLE audit (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    act TEXT NOT NULL,
    object TEXT NOT NULL,
    note TEXT NOT NULL,
    token TEXT NOT NULL,
    request TEXT NOT NULL,
    peer TEXT NOT NULL,
    prev TEXT NOT NULL,
    hash TEXT NOT NULL
)
 STRICT
""",
    "INSERT INTO audit SELECT seq, at, who, act, object, note, '', '', '', prev, hash"
    " FROM audit_before_0005 ORDER BY seq",
    "DROP TABLE audit_before_0005",  # with its triggers
    "CREATE INDEX audit_by_object ON audit (object, seq)",
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
    "ALTER TABLE tokens RENAME TO tokens_before_0005",
    """\
CREATE TABLE tokens (
    seq INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    scopes TEXT NOT NULL,
    source TEXT NOT NULL CHECK (source IN ('api', 'first', 'credential')),
    secret_sha256 TEXT NOT NULL,
    previous_sha256 TEXT,
    previous_until INTEGER,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    rotated_at INTEGER,
    revoked_at INTEGER,
    last_used_at INTEGER,
    UNIQUE (id)
)
 STRICT
""",
    """\
INSERT INTO tokens
SELECT seq, id, name,
       CASE WHEN revoked_at IS NULL AND EXISTS (
              SELECT 1 FROM tokens_before_0005 AS later WHERE later.name = token.name
                 AND later.revoked_at IS NULL AND later.seq > token.seq)
            THEN name || ' #' || seq ELSE name END,
       scopes, 'first', secret_sha256, NULL, NULL, created_at, expires_at, NULL, revoked_at,
       last_used_at
  FROM tokens_before_0005 AS token
 ORDER BY seq
""",
    "DROP TABLE tokens_before_0005",
    "CREATE UNIQUE INDEX tokens_names ON tokens (subject, name) WHERE revoked_at IS NULL",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
