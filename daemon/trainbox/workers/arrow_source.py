"""Arrow IPC (file and stream) into the staging table, through nanoarrow and DuckDB."""

from __future__ import annotations

from pathlib import Path

import duckdb
import nanoarrow
from nanoarrow.ipc import InputStream

from trainbox.workers import staging
from trainbox.workers.column_types import refuse_infinite, refuse_types, typed_columns
from trainbox.workers.csv_text import check_names
from trainbox.workers.ingest_request import UPLOAD, IngestRequest
from trainbox.workers.refusal import Refused, shown
from trainbox.workers.text_types import TypedColumn

FILE_MAGIC = b"ARROW1"
FILE_HEAD = 8
"""The file format is the stream format between a padded magic and a footer
(https://arrow.apache.org/docs/format/Columnar.html#ipc-file-format)."""
STREAM_MAGIC = b"\xff\xff\xff\xff"
"""The continuation marker that every message starts with."""

_AGAIN = (
    "upload it again; a file that was still being written or cut off in transit looks like this"
)


class _Reopened:
    """An Arrow stream of the upload that can be asked for more than once, as DuckDB does."""

    def __init__(self, path: Path, skip: int) -> None:
        self._path = path
        self._skip = skip

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Open the upload again (Arrow PyCapsule interface)."""
        return self.open().__arrow_c_stream__(requested_schema)

    def open(self) -> nanoarrow.ArrayStream:
        """Return the stream from its start."""
        file = self._path.open("rb")
        file.seek(self._skip)
        return nanoarrow.ArrayStream(InputStream.from_readable(file))


def stage_arrow(
    connection: duckdb.DuckDBPyConnection, request: IngestRequest
) -> tuple[dict[str, TypedColumn], int]:
    """Copy the upload into the table ``raw``; return its columns by name and its row count.

    Raises:
        Refused: not Arrow, damaged, over a limit, or with columns no task can see.
    """
    stream = _Reopened(Path(UPLOAD), _head(Path(UPLOAD)))
    try:
        names = [field.name or "" for field in stream.open().schema.fields]
        check_names(names, request.max_columns)
        relation = connection.from_arrow(stream)
        types = dict(zip(names, map(str, relation.types), strict=True))
        refuse_types(types)
        columns = typed_columns(types)
        connection.register("upload", stream)
        aliases = ", ".join(f"c{index}" for index in range(len(names)))
        rows = staging.stage(
            connection,
            len(names),
            f"(SELECT * FROM upload AS upload({aliases}) LIMIT {request.max_rows + 1})",  # noqa: S608
        )
    except (duckdb.Error, MemoryError) as error:
        raise staging.refusal_of(error, request, "the Arrow file is damaged") from error
    except (nanoarrow.c_lib.NanoarrowException, ValueError) as error:
        first = str(error).partition("\n")[0]
        raise Refused(f"the Arrow file is damaged: {first}", hint=_AGAIN) from error
    refuse_infinite(connection, columns)
    return columns, rows


def _head(path: Path) -> int:
    """Return how many bytes precede the stream."""
    with path.open("rb") as file:
        head = file.read(FILE_HEAD)
    if not head:
        raise Refused("the file is empty", code="empty_file")
    if head.startswith(FILE_MAGIC):
        return FILE_HEAD
    if head.startswith(STREAM_MAGIC):
        return 0
    raise Refused(
        f"this is not Arrow IPC: it starts with {shown(head)}",
        code="wrong_format",
        hint="send a file or stream that pyarrow.ipc or polars write_ipc made; Feather 1 is not",
    )
