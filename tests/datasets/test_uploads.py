"""Resumable uploads below HTTP: offsets, crashes, takeovers, expiry, a full disk."""

import asyncio
import subprocess
from datetime import timedelta

import pytest

from trainbox.clock import now
from trainbox.datasets import uploads as uploads_module
from trainbox_sdk.errors import Conflict, NotFound, StorageFull, TooLarge
from trainbox_sdk.uploads import NewDataset

CSV = b"age,city\n" + b"31,Berlin\n" * 1000
SPEC = NewDataset("people", "csv", filename="people.csv")


async def begin(house, size=len(CSV), spec=SPEC):
    return await house.uploads.create("ann", spec, size=size, metadata_header="")


async def test_pieces_make_the_dataset_that_one_piece_would(house, stream):
    upload = await begin(house)
    for start in range(0, len(CSV), 3000):
        upload = await house.uploads.append(upload.id, start, stream(CSV[start : start + 3000]))
    assert (upload.state, upload.received) == ("done", len(CSV))
    whole = await house.put(CSV)
    assert (whole.replayed, whole.dataset.id) == (True, upload.dataset_id)
    assert house.leftovers() == []
    assert (await house.uploads.append(upload.id, len(CSV), stream(b""))).state == "done"


async def test_a_failed_upload_keeps_its_faults_and_no_bytes(house, stream):
    bad = b"age,city\n31\n32,Rom\n33,Wien,x\n"
    upload = await begin(house, len(bad))
    upload = await house.uploads.append(upload.id, 0, stream(bad))
    assert upload.state == "failed"
    assert [(fault.row, fault.file) for fault in upload.failure.faults] == [
        (1, "people.csv"),
        (3, "people.csv"),
    ]
    assert upload.failure.code == "ragged_row"
    assert house.leftovers() == [] and house.files() == set()
    with pytest.raises(Conflict):
        await house.uploads.append(upload.id, 0, stream(bad))


async def test_an_empty_upload_fails_like_an_empty_file(house):
    upload = await begin(house, 0)
    while (await house.uploads.get(upload.id)).state == "ingesting":
        await asyncio.sleep(0.01)
    assert (await house.uploads.get(upload.id)).failure.code == "empty_file"


async def test_the_wrong_offset_changes_nothing(house, stream):
    upload = await begin(house)
    await house.uploads.append(upload.id, 0, stream(CSV[:500]))
    for offset in (0, 499, 501):
        with pytest.raises(Conflict) as wrong:
            await house.uploads.append(upload.id, offset, stream(b"x"))
        assert (wrong.value.code, "500" in wrong.value.message) == ("wrong_offset", True)
    assert (house.root / "uploads" / upload.id).read_bytes() == CSV[:500]


async def test_more_than_announced_is_refused(house, stream):
    upload = await begin(house, 10)
    with pytest.raises(TooLarge):
        await house.uploads.append(upload.id, 0, stream(b"x" * 11))
    assert (await house.uploads.get(upload.id)).state == "receiving"
    with pytest.raises(TooLarge):
        await begin(house, 10**6 + 1)


async def test_a_broken_request_keeps_what_arrived(house, stream):
    async def cut():
        yield CSV[:700]
        raise ConnectionResetError

    upload = await begin(house)
    with pytest.raises(ConnectionResetError):
        await house.uploads.append(upload.id, 0, cut())
    assert (await house.uploads.settled(upload.id)).received == 700
    done = await house.uploads.append(upload.id, 700, stream(CSV[700:]))
    assert done.state == "done"


async def test_a_second_request_takes_over_from_a_dead_one(house, stream):
    dead = asyncio.Event()

    async def hanging():
        yield CSV[:700]
        dead.set()
        await asyncio.Event().wait()

    upload = await begin(house)
    first = asyncio.ensure_future(house.uploads.append(upload.id, 0, hanging()))
    await dead.wait()
    assert (await house.uploads.settled(upload.id)).received == 700
    with pytest.raises(Conflict, match="took"):
        await first
    assert (await house.uploads.append(upload.id, 700, stream(CSV[700:]))).state == "done"


async def test_bytes_that_were_never_confirmed_are_cut_off(root, open_house, stream):
    async with open_house(root) as house:
        upload = await begin(house)
        await house.uploads.append(upload.id, 0, stream(CSV[:700]))
        with (root / "uploads" / upload.id).open("ab") as file:
            file.write(b"\0" * 5000)  # what a power cut may leave behind the synced part
        (root / "uploads" / "upl_of_no_row").write_bytes(b"x")
    async with open_house(root) as house:
        assert {path.name for path in (root / "uploads").iterdir()} == {upload.id}
        assert (await house.uploads.get(upload.id)).received == 700
        done = await house.uploads.append(upload.id, 700, stream(CSV[700:]))
        assert done.state == "done"
        assert (await house.store.datasets.get(done.dataset_id)).rows == 1000


async def test_a_long_request_is_noted_on_the_way(house, monkeypatch, stream):
    monkeypatch.setattr(uploads_module, "BLOCK", 1000)
    monkeypatch.setattr(uploads_module, "CHECKPOINT", 2000)
    seen = []

    async def body():
        async for piece in stream(CSV, 500):
            seen.append((await house.uploads.get(upload.id)).received)
            yield piece

    upload = await begin(house)
    await house.uploads.append(upload.id, 0, body())
    assert set(range(2000, 10_000, 2000)) <= set(seen)


async def test_reading_goes_on_after_a_restart_and_makes_one_dataset(root, open_house, stream):
    async with open_house(root, wait_s=0.0) as house:
        upload = await begin(house)
        answer = await house.uploads.append(upload.id, 0, stream(CSV))
        assert answer.state == "ingesting"
    async with open_house(root) as house:
        assert (await house.uploads.get(upload.id)).state == "ingesting"
        with pytest.raises(Conflict):
            await house.uploads.terminate(upload.id, who="ann")
        done = await house.uploads.append(upload.id, len(CSV), stream(b""))
        assert done.state == "done"
        assert len((await house.store.datasets.list(owner=None)).items) == 1
        assert house.leftovers() == []


async def test_old_uploads_are_forgotten(house, stream, monkeypatch):
    upload, ended = await begin(house), await begin(house)
    await house.uploads.append(upload.id, 0, stream(CSV[:10]))
    await house.uploads.append(ended.id, 0, stream(CSV))
    monkeypatch.setattr(uploads_module, "now", lambda: now() + timedelta(hours=2))
    with pytest.raises(NotFound):
        await house.uploads.get(upload.id)
    await house.uploads.expire()
    assert await house.store.uploads.ids() == set()
    assert house.leftovers() == []


async def test_a_terminated_upload_is_gone(house, stream):
    upload = await begin(house)
    await house.uploads.append(upload.id, 0, stream(CSV[:10]))
    await house.uploads.terminate(upload.id, who="ann")
    assert house.leftovers() == []
    with pytest.raises(NotFound):
        await house.uploads.append(upload.id, 10, stream(CSV[10:]))


@pytest.fixture
def small_disk(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=2m", "trainbox-test", str(mount)]
    subprocess.run(argv, check=True)
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


async def test_a_full_disk_is_said_and_leaves_what_was_confirmed(house, small_disk, stream):
    uploads = uploads_module.Uploads(
        house.store, house.filer, small_disk / "uploads", max_bytes=10**8, expiry_s=3600.0
    )
    with pytest.raises(StorageFull):
        await uploads.create("ann", SPEC, size=5 * 10**6, metadata_header="")
    upload = await uploads.create("ann", SPEC, size=10**6 + 10**6 // 2, metadata_header="")
    await uploads.append(upload.id, 0, stream(b"x" * 1000))
    (small_disk / "other").write_bytes(b"x" * 10**6)
    with pytest.raises(StorageFull):
        await uploads.append(upload.id, 1000, stream(b"y" * (upload.bytes - 1000)))
    kept = (await uploads.get(upload.id)).received
    assert 1000 <= kept < upload.bytes
    assert (small_disk / "uploads" / upload.id).read_bytes()[:kept] == b"x" * 1000 + b"y" * (
        kept - 1000
    )
    (small_disk / "other").unlink()
    with pytest.raises(ConnectionResetError):
        await uploads.append(upload.id, kept, _cut(b"y" * 500))
    assert (await uploads.get(upload.id)).received == kept + 500
    await uploads.close()


async def _cut(data):
    yield data
    raise ConnectionResetError
