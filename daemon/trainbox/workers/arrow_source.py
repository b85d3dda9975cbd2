"""Arrow IPC (file and stream) into the staging table, through nanoarrow and DuckDB."""

from __future__ import annotations

from pathlib import Path

import duckdb
import nanoarrow
from nanoarrow.ipc import InputStream

from trainbox.workers import staging
from trainbox.workers.arrow_frames import check_frames
from trainbox.workers.column_types import refuse_infinite, refuse_types, typed_columns
from trainbox.workers.csv_text import check_names
from trainbox.workers.ingest_request import UPLOAD, IngestRequest
from trainbox.workers.refusal import Refused
from trainbox.workers.text_types import TypedColumn

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
    stream = _Reopened(Path(UPLOAD), check_frames(Path(UPLOAD)))
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
    except (RuntimeError, ValueError) as error:  # nanoarrow's own errors are RuntimeErrors
        first = str(error).partition("\n")[0]
        raise Refused(f"the Arrow file is damaged: {first}", hint=_AGAIN) from error
    refuse_infinite(connection, columns)
    return columns, rows
