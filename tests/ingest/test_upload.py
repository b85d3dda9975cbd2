"""The way of the bytes: streamed, counted, hashed; whole in the blob store or nowhere."""

import asyncio
import hashlib
import json
import os
import resource
from dataclasses import replace
from pathlib import Path

import pytest
from trainbox.ingest import Ingest
from trainbox.ingest.report import read_report
from trainbox.ingest.spool import spool
from trainbox_sdk.errors import StorageFull, TooLarge, Unavailable, ValidationFailed


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_what_is_stored(upload, blobs, tmp):
    source = "a,b\n1,x\n2,\n"
    data = await upload(source)
    path = blobs.path(data.digest)
    stored = path.read_bytes()
    assert data.digest == "sha256:" + hashlib.sha256(stored).hexdigest()
    assert data.bytes == len(stored)
    assert data.source_digest == "sha256:" + hashlib.sha256(source.encode()).hexdigest()
    assert (data.rows, len(data.columns)) == (2, 2)
    assert stored[:4] == stored[-4:] == b"PAR1"
    assert not list(tmp.iterdir())


async def test_same_upload_same_digest(upload, stream, ingest):
    source = ("a,b,c\n" + "".join(f"{i},{i % 13},v{i % 5}\n" for i in range(60_000))).encode()
    first = await upload(source)
    again = await ingest.ingest(stream(source, size=999), format="csv")
    assert (first.digest, first.columns) == (again.digest, again.columns)


class ClientGone(Exception):
    pass


async def test_upload_cut_off_midway_leaves_nothing(ingest, tmp, tmp_path):
    async def cut():
        yield b"a,b\n" + b"1,2\n" * 1_000_000
        raise ClientGone

    before = files(tmp_path / "blobs")
    with pytest.raises(ClientGone):
        await ingest.ingest(cut(), format="csv")
    assert not list(tmp.iterdir())
    assert files(tmp_path / "blobs") == before == []


async def test_cancelled_while_the_bytes_come(ingest, tmp):
    async def slow():
        yield b"a\n"
        await asyncio.Event().wait()

    task = asyncio.create_task(ingest.ingest(slow(), format="csv"))
    while not list(tmp.rglob("upload")):
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(tmp.iterdir())


async def test_cancelled_while_the_worker_reads(ingest, stream, tmp):
    source = ("a,b\n" + "".join(f"{i},v{i}\n" for i in range(90_000))).encode()
    task = asyncio.create_task(ingest.ingest(stream(source), format="csv"))
    while not list(tmp.rglob("staging.db")):
        await asyncio.sleep(0.005)
        assert not task.done()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list(tmp.iterdir())


async def test_body_too_large_is_noticed_before_it_is_all_read(blobs, small, tmp):
    sent = 0

    async def endless():
        nonlocal sent
        while True:
            sent += 65536
            yield b"1\n" * 32768

    ingest = Ingest(blobs, replace(small, upload_bytes=1024**2), tmp)
    with pytest.raises(TooLarge):
        await ingest.ingest(endless(), format="csv")
    assert sent <= 1024**2 + 2 * 65536
    assert not list(tmp.iterdir())


async def test_disk_full_while_spooling(stream):
    # /dev/full is the kernel's own full disk (full(4)).
    with pytest.raises(StorageFull):
        await spool(stream(b"x" * 3_000_000), Path("/dev/full"), 10_000_000)


def test_disk_full_in_the_worker_is_the_daemons_full_disk():
    refused = {
        "kind": "storage_full",
        "code": "storage_full",
        "message": "m",
        "hint": "",
        "faults": [],
    }
    answer = {"confinement": {"applied": {}, "missing": {}}, "refused": refused}
    assert isinstance(read_report(json.dumps(answer).encode()).refused.error(), StorageFull)


async def test_result_larger_than_the_scratch_limit(blobs, small, stream, tmp):
    ingest = Ingest(blobs, replace(small, scratch_bytes=200_000), tmp)
    rows = "".join(f"{os.urandom(40).hex()}\n" for _ in range(20_000))
    with pytest.raises(TooLarge) as caught:
        await ingest.ingest(stream(b"a\n" + rows.encode()), format="csv")
    assert caught.value.code == "unpacks_too_large"
    assert not list(tmp.iterdir())


async def test_worker_out_of_time(blobs, small, stream, tmp):
    ingest = Ingest(blobs, replace(small, wall_s=0.01), tmp)
    with pytest.raises(Unavailable) as caught:
        await ingest.ingest(stream(b"a\n1\n"), format="csv")
    assert caught.value.code == "ingest_timeout"
    assert not list(tmp.iterdir())


async def test_worker_out_of_processor_time(blobs, small, stream, tmp):
    ingest = Ingest(blobs, replace(small, cpu_s=1, rows=10_000_000), tmp)
    source = b"a,b,c\n" + b'2024-01-01T10:00:00 +01:00,"x ""y""",1.5e3\n' * 1_000_000
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(stream(source), format="csv")
    assert caught.value.code == "unreadable_data"
    assert "1 s of CPU" in caught.value.message


async def test_unknown_format(ingest, stream):
    with pytest.raises(ValidationFailed):
        await ingest.ingest(stream(b""), format="xlsx")


async def test_leftovers_of_a_killed_daemon_go(blobs, small, tmp):
    left = tmp / "ingest-dead"
    left.mkdir(parents=True)
    (left / "upload").write_bytes(b"x" * 100)
    (tmp / "other").write_text("not ours")
    Ingest(blobs, small, tmp)
    assert [path.name for path in tmp.iterdir()] == ["other"]


async def test_the_daemon_stays_small_while_a_large_file_passes(blobs, small, tmp):
    """Peak memory of this process grows by far less than the file."""
    line = b"1,2.5,abc,2024-01-01\n"
    block = line * (1024**2 // len(line))

    async def body():
        yield b"a,b,c,d\n"
        for _ in range(150):
            yield block

    limits = replace(small, upload_bytes=1024**3, rows=10**8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    data = await Ingest(blobs, limits, tmp).ingest(body(), format="csv")
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert data.rows == 150 * (len(block) // len(line))
    assert grown < 40 * 1024  # KiB; the file has 150 MiB


async def test_uploads_beyond_the_workers_wait_their_turn(blobs, small, stream, tmp):
    ingest = Ingest(blobs, replace(small, workers=1), tmp)
    uploads = [ingest.ingest(stream(f"a\n{n}\n".encode()), format="csv") for n in range(6)]
    results = await asyncio.gather(*uploads)
    assert [data.columns[0].min for data in results] == list(range(6))


def test_limits_are_never_unlimited(small):
    with pytest.raises(ValueError, match="rows"):
        replace(small, rows=0)
