"""The rooms of datasets over a real store, real blobs and real ingest workers."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trainbox.blobs import BlobStore
from trainbox.clock import now
from trainbox.datasets import DatasetFiler, Uploads
from trainbox.engine.trash import Trash
from trainbox.ids import new_id
from trainbox.ingest import Ingest, IngestLimits
from trainbox.store import Store
from trainbox.store.datasets import Filing
from trainbox.store.records import NewJob
from trainbox_sdk.artifacts import Column, DatasetView
from trainbox_sdk.jobs import JobSpec, Resources, State
from trainbox_sdk.tasks import StepPlan
from trainbox_sdk.testing.daemon import DaemonProcess
from trainbox_sdk.uploads import NewDataset

LIMITS = IngestLimits(
    upload_bytes=64 * 1024**2,
    rows=100_000,
    columns=300,
    memory_bytes=768 * 1024**2,
    cpu_s=60,
    wall_s=120.0,
)
CSV = b"age,city\n31,Berlin\n52,Roma\n"


async def streamed(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


class House:
    """Everything between an upload and its end, on one state directory."""

    def __init__(self, root: Path, store: Store, **uploads: Any) -> None:
        self.root = root
        self.store = store
        self.blobs = BlobStore(root / "blobs")
        self.ingest = Ingest(self.blobs, LIMITS, root / "tmp")
        self.filer = DatasetFiler(store, self.ingest, self.blobs)
        self.trash = Trash(store, self.blobs)
        options = {"max_bytes": 10**6, "expiry_s": 3600.0, "wait_s": 60.0, **uploads}
        self.uploads = Uploads(store, self.filer, root / "uploads", **options)

    async def put(self, data: bytes = CSV, name: str = "people", owner: str = "ann", **spec: Any):
        new = NewDataset(name, spec.pop("format", "csv"), **spec)
        return await self.filer.file(owner, new, streamed(data))

    async def publish(self, data: bytes) -> DatasetView:
        """Bytes in the blob store and a view of them, without reading them; no row yet."""
        blob = await self.blobs.put_stream(streamed(data), 10**6)
        column = Column("age", "number", "BIGINT", 0, 2, True, 31, 52, (31, 52))
        return DatasetView(
            new_id("ds"), "raw", blob.digest, "csv", blob.bytes, 2, (column,), "ann", now()
        )

    async def raw(self, data: bytes, name: str = "raw") -> str:
        """A dataset of arbitrary bytes; returns its id."""
        view = await self.publish(data)
        filing = Filing(replace(view, name=name))
        dataset_id, _ = await self.store.datasets.file(filing, audit="test")
        self.blobs.settle(view.digest)
        return dataset_id

    async def job(self, dataset_id: str) -> str:
        new = NewJob(
            id=new_id("job"),
            owner="ann",
            spec=JobSpec("regression", dataset_id=dataset_id, name="j"),
            resources=Resources(cpus=1.0, memory_bytes=10**9, timeout_s=60.0),
            backend="docker",
            steps=(StepPlan("train", "demo.guest:main", ("demo",), "tabular"),),
        )
        await self.store.jobs.insert(new, audit="test")
        return new.id

    async def end_job(self, job_id: str) -> None:
        await self.store.jobs.request_cancel(job_id, who="ann")
        job = await self.store.jobs.get(job_id)
        assert job is not None and job.state is State.CANCELLED

    async def purge(self, *, older_than_s: float = 0.0, dry_run: bool = False):
        return await self.trash.purge(older_than_s=older_than_s, dry_run=dry_run, who="admin")

    def files(self) -> set[str]:
        return {file.digest for file in self.blobs.files()}

    def leftovers(self) -> list[str]:
        """Files that no dataset's bytes are: spools, uploads, half-published blobs."""
        places = ("tmp", "uploads", "blobs/incoming")
        return [str(p) for place in places for p in (self.root / place).rglob("*")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state"


@asynccontextmanager
async def opened(root: Path, **uploads: Any) -> AsyncIterator[House]:
    store = await Store.open(root)
    house = House(root, store, **uploads)
    await house.uploads.start()
    try:
        yield house
    finally:
        await house.uploads.close()
        await store.close()


@pytest.fixture
def open_house():
    return opened


@pytest.fixture
async def house(root: Path) -> AsyncIterator[House]:
    async with opened(root) as made:
        yield made


@pytest.fixture
def stream():
    return streamed


@pytest.fixture
def digest_of():
    return lambda data: f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.fixture(scope="module")
def import_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("imports")


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, import_root: Path) -> Iterator[DaemonProcess]:
    state = tmp_path_factory.mktemp("daemon") / "state"
    env = {"TRAINBOX_BACKEND": "process", "TRAINBOX_ALLOWED_IMPORT_ROOTS": str(import_root)}
    with DaemonProcess(state, env=env) as running:
        yield running
