"""Blobs: whole or absent, named by content, nothing left of what failed."""

import asyncio
import errno
import hashlib
import os
import subprocess

import pytest

from trainbox.blobs import CHUNK, BlobStore, no_room_is_storage_full
from trainbox_sdk.errors import NotFound, StorageFull, TooLarge

LARGE = 2**40


@pytest.fixture
def blobs(tmp_path):
    return BlobStore(tmp_path / "blobs")


async def stream(*chunks):
    for chunk in chunks:
        await asyncio.sleep(0)
        yield chunk


def files(root):
    return sorted(path for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    "chunks", [[], [b""], [b"a"], [b"x" * (CHUNK + 1)], [b"ab" * 1000] * 1500, [b"", b"a", b""]]
)
async def test_bytes_come_back_under_their_digest(blobs, tmp_path, chunks):
    data = b"".join(chunks)
    blob = await blobs.put_stream(stream(*chunks), LARGE)
    assert blob.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert blob.bytes == len(data)
    path = blobs.path(blob.digest)
    assert path.read_bytes() == data
    assert path.stat().st_mode & 0o777 == 0o440
    assert await blobs.verify(blob.digest)
    assert files(tmp_path / "blobs") == [path]


async def test_the_same_bytes_are_kept_once(blobs, tmp_path):
    source = tmp_path / "source"
    source.write_bytes(b"same" * CHUNK)
    fd = os.open(source, os.O_RDONLY)
    os.lseek(fd, 100, os.SEEK_SET)  # where the descriptor stands does not matter
    made = await asyncio.gather(
        blobs.put_stream(stream(b"same" * CHUNK), LARGE),
        blobs.put_file(source, max_bytes=LARGE),
        blobs.put_fd(fd, max_bytes=LARGE),
    )
    os.close(fd)
    assert len(set(made)) == 1
    assert len(files(tmp_path / "blobs")) == 1


@pytest.mark.parametrize("over", [1, CHUNK, 5 * CHUNK])
async def test_too_large_leaves_nothing(blobs, tmp_path, over):
    with pytest.raises(TooLarge, match="more than 10 bytes"):
        await blobs.put_stream(stream(b"x" * (10 + over)), 10)
    source = tmp_path / "source"
    source.write_bytes(b"x" * (10 + over))
    with pytest.raises(TooLarge):
        await blobs.put_file(source, max_bytes=10)
    assert files(tmp_path / "blobs") == []
    assert (await blobs.put_stream(stream(b"x" * 10), 10)).bytes == 10


async def test_a_stream_that_breaks_off_leaves_nothing(blobs, tmp_path):
    async def broken():
        yield b"x" * 2 * CHUNK
        raise ConnectionResetError("gone")

    with pytest.raises(ConnectionResetError):
        await blobs.put_stream(broken(), LARGE)
    assert files(tmp_path / "blobs") == []


async def test_a_cancelled_upload_leaves_no_file_and_no_descriptor(blobs, tmp_path):
    before = set(os.listdir("/proc/self/fd"))
    for delay in (0, 0.001, 0.01):

        async def endless():
            while True:
                yield b"x" * CHUNK

        upload = asyncio.ensure_future(blobs.put_stream(endless(), LARGE))
        await asyncio.sleep(delay)
        upload.cancel()
        with pytest.raises(asyncio.CancelledError):
            await upload
        assert files(tmp_path / "blobs") == []
    assert set(os.listdir("/proc/self/fd")) == before


async def test_a_cancelled_copy_ends_before_its_caller_may_close_the_descriptor(blobs, tmp_path):
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(200 * CHUNK)
    fd = os.open(source, os.O_RDONLY)
    copy = asyncio.ensure_future(blobs.put_fd(fd, max_bytes=LARGE))
    await asyncio.sleep(0.01)
    copy.cancel()
    with pytest.raises(asyncio.CancelledError):
        await copy
    os.close(fd)
    # Whole or absent: the thread had its end either way.
    for path in files(tmp_path / "blobs"):
        assert path.stat().st_size == 200 * CHUNK


async def test_damage_is_noticed_and_healed_by_the_same_bytes(blobs):
    blob = await blobs.put_stream(stream(b"good"), LARGE)
    path = blobs.path(blob.digest)
    path.chmod(0o640)
    path.write_bytes(b"evil")
    assert not await blobs.verify(blob.digest)
    await blobs.put_stream(stream(b"good"), LARGE)
    assert await blobs.verify(blob.digest)


@pytest.mark.parametrize(
    "digest",
    ["", "sha256:", "sha256:../../etc/passwd", "md5:" + "0" * 32, "sha256:" + "0" * 64, "0" * 64,
     "sha256:" + "A" * 64, "sha256:" + "0" * 64 + "\n", "sha256:" + "0" * 63],
)  # fmt: skip
async def test_unknown_and_forged_digests_are_not_found(blobs, digest):
    for look in (blobs.path, blobs._place) if digest != "sha256:" + "0" * 64 else (blobs.path,):
        with pytest.raises(NotFound):
            look(digest)


async def test_only_regular_files_are_copied(blobs, tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError) as error:
        await blobs.put_file(tmp_path / "link", max_bytes=LARGE)
    assert error.value.errno == errno.ELOOP
    os.mkfifo(tmp_path / "fifo")
    for other in ("fifo", "."):
        with pytest.raises(ValueError, match="not a regular file"):
            await blobs.put_file(tmp_path / other, max_bytes=LARGE)
    with pytest.raises(FileNotFoundError):
        await blobs.put_file(tmp_path / "none", max_bytes=LARGE)
    assert files(tmp_path / "blobs") == []


async def test_what_a_killed_daemon_left_is_dropped_at_start(blobs, tmp_path):
    kept = await blobs.put_stream(stream(b"kept"), LARGE)
    leftover = tmp_path / "blobs" / "incoming" / "abc"
    leftover.write_bytes(b"half")
    again = BlobStore(tmp_path / "blobs")
    assert not leftover.exists()
    assert again.path(kept.digest).read_bytes() == b"kept"


async def test_removing_gives_the_room_back(blobs, tmp_path):
    blob = await blobs.put_stream(stream(b"x" * CHUNK), LARGE)
    assert await blobs.remove(blob.digest)
    assert not await blobs.remove(blob.digest)
    assert files(tmp_path / "blobs") == []
    with pytest.raises(NotFound):
        blobs.path(blob.digest)


async def test_a_full_disk_leaves_nothing_half_and_takes_more_once_there_is_room(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    mount = tmp_path / "small"
    mount.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=2m", "trainbox-test", str(mount)]
    subprocess.run(argv, check=True)
    try:
        blobs = BlobStore(mount)
        with pytest.raises(StorageFull, match="no room left"):
            await blobs.put_stream(stream(*[b"x" * CHUNK] * 4), LARGE)
        assert files(mount) == []
        assert await blobs.verify((await blobs.put_stream(stream(b"x" * CHUNK), LARGE)).digest)
    finally:
        subprocess.run(["umount", str(mount)], check=True)


def test_other_errors_of_the_disk_are_not_called_full(tmp_path):
    with pytest.raises(StorageFull), no_room_is_storage_full(tmp_path):
        raise OSError(errno.EDQUOT, "quota")
    with pytest.raises(OSError, match="I/O"), no_room_is_storage_full(tmp_path):
        raise OSError(errno.EIO, "I/O")
