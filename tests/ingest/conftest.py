from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import duckdb
import pytest
from trainbox.blobs import BlobStore
from trainbox.ingest import Ingest, IngestedData, IngestLimits

Upload = Callable[..., Awaitable[IngestedData]]

SMALL = IngestLimits(
    upload_bytes=64 * 1024**2,
    rows=100_000,
    columns=300,
    value_bytes=10_000,
    record_bytes=100_000,
    result_bytes=64 * 1024**2,
    scratch_bytes=512 * 1024**2,
    memory_bytes=768 * 1024**2,
    cpu_s=60,
    wall_s=120.0,
)


async def streamed(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.fixture
def stream() -> Callable[..., AsyncIterator[bytes]]:
    return streamed


@pytest.fixture
def small() -> IngestLimits:
    return SMALL


@pytest.fixture
def parquet(tmp_path: Path) -> Callable[..., bytes]:
    """Write a Parquet file with a second, unconfined DuckDB and return its bytes."""

    def write(query: str, **options: object) -> bytes:
        path = tmp_path / "written.parquet"
        extra = "".join(f", {key} {value}" for key, value in options.items())
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet{extra})")
        return path.read_bytes()

    return write


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    return tmp_path / "uploads"


@pytest.fixture
def ingest(blobs: BlobStore, tmp: Path) -> Ingest:
    return Ingest(blobs, SMALL, tmp)


@pytest.fixture
def upload(ingest: Ingest) -> Upload:
    async def put(data: bytes | str, format: str = "csv") -> IngestedData:
        raw = data.encode() if isinstance(data, str) else data
        return await ingest.ingest(streamed(raw), format=format)

    return put


@pytest.fixture
def rows(blobs: BlobStore) -> Callable[[IngestedData], list[tuple[object, ...]]]:
    def read(data: IngestedData) -> list[tuple[object, ...]]:
        with duckdb.connect(":memory:") as connection:
            return connection.execute(
                f"SELECT * FROM read_parquet('{blobs.path(data.digest)}')"
            ).fetchall()

    return read
