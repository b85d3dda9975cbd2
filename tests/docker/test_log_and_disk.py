"""The capped log and the disk walk: bounded whatever comes."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbox_guest.shim.capped_log import CappedLog
from trainbox_guest.shim.disk import MAX_DEPTH, disk_use

LIMIT = 400


def written(folder: Path, pieces: list[bytes], limit: int = LIMIT) -> tuple[CappedLog, bytes]:
    path = folder / "log"
    log = CappedLog(path, limit)
    for piece in pieces:
        log.append(piece)
    log.close()
    log.close()
    return log, path.read_bytes()


def test_what_fits_is_kept_byte_for_byte(tmp_path: Path) -> None:
    log, found = written(tmp_path, [b"a\n", b"\xff\x00", b"no end"])
    assert found == b"a\n\xff\x00no end"
    assert log.whole
    assert log.seen == len(found)


@given(pieces=st.lists(st.binary(max_size=300), max_size=30), limit=st.integers(200, 2000))
def test_any_output_is_bounded_and_keeps_both_ends(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes], limit: int
) -> None:
    log, found = written(tmp_path_factory.mktemp("log"), pieces, limit)
    whole = b"".join(pieces)
    assert log.seen == len(whole)
    assert len(found) <= limit
    if log.whole:
        assert found == whole
    else:
        assert found.startswith(whole[: limit // 2])
        assert found.endswith(whole[-20:])


def test_marker_counts_what_was_left_out(tmp_path: Path) -> None:
    _, found = written(tmp_path, [b"h" * 200, b"m" * 1000, b"t" * 120])
    marker = b"[trainbox: 1000 bytes of output left out here]"
    assert marker in found
    assert found == b"h" * 200 + b"\n" + marker + b"\n" + b"t" * 120


def test_endless_small_pieces_take_bounded_memory(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", LIMIT)
    for _ in range(10_000):
        log.append(b"x\n")
    assert sum(len(segment.data) for segment in log._tail) <= LIMIT
    assert len(log._tail) < 20, "pieces of one moment share memory"
    log.close()


def test_abandoned_log_says_nothing_of_an_end(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", LIMIT)
    log.append(b"x" * 1000)
    log.abandon()
    assert (tmp_path / "log").read_bytes() == b"x" * 200


def test_link_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError):
        CappedLog(tmp_path / "log", LIMIT)
    assert not (tmp_path / "victim").exists()


# --- the disk walk


def use(*roots: Path, limit_bytes: int = 10**9, limit_entries: int = 1000):
    return disk_use(roots, limit_bytes=limit_bytes, limit_entries=limit_entries)


def test_sizes_add_up_over_roots_and_folders(tmp_path: Path) -> None:
    for name in ("a/b/c", "d"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a/b/c/x").write_bytes(b"x" * 100_000)
    (tmp_path / "d/y").write_bytes(b"x" * 50_000)
    found = use(tmp_path / "a", tmp_path / "d")
    assert found.whole
    assert found.entries == 4
    assert 150_000 <= found.bytes <= 200_000


def test_single_file_as_a_root_counts(tmp_path: Path) -> None:
    (tmp_path / "events").write_bytes(b"x" * 100_000)
    assert use(tmp_path / "events").bytes >= 100_000


def test_holes_do_not_count(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(10**12)
    assert use(tmp_path).bytes < 10**6


def test_second_name_of_a_file_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 100_000)
    once = use(tmp_path).bytes
    for number in range(5):
        os.link(tmp_path / "a", tmp_path / f"b{number}")
    assert use(tmp_path).bytes == once


def test_links_are_not_followed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (outside / "big").write_bytes(b"x" * 1_000_000)
    (inside / "folder").symlink_to(outside)
    (inside / "file").symlink_to(outside / "big")
    (inside / "loop").symlink_to(inside)
    assert use(inside).bytes < 100_000
    assert use(inside / "folder").entries == 0, "nor is a root that is a link"


def test_special_files_do_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    done = threading.Event()

    def walk() -> None:
        use(tmp_path)
        done.set()

    threading.Thread(target=walk, daemon=True).start()
    assert done.wait(10)


@pytest.mark.parametrize("depth", [MAX_DEPTH + 10])
def test_bottomless_tree_is_over_the_limit(tmp_path: Path, depth: int) -> None:
    here = os.open(tmp_path, os.O_RDONLY)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(depth):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    assert not use(tmp_path).whole
    assert len(os.listdir("/proc/self/fd")) <= before, "no descriptor is left open"


def test_walk_stops_at_its_limits(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / str(number)).write_bytes(b"x" * 10_000)
    assert use(tmp_path, limit_entries=50).entries <= 60
    assert not use(tmp_path, limit_entries=50).whole
    assert not use(tmp_path, limit_bytes=100_000).whole
    assert use(tmp_path, limit_bytes=100_000).bytes < 200_000


def test_missing_root_counts_nothing(tmp_path: Path) -> None:
    found = use(tmp_path / "gone")
    assert (found.bytes, found.entries, found.whole) == (0, 0, True)


def test_tree_that_changes_under_the_walk_raises_nothing(tmp_path: Path) -> None:
    stop = threading.Event()

    def churn() -> None:
        number = 0
        while not stop.is_set():
            folder = tmp_path / f"d{number % 7}"
            try:
                folder.mkdir()
                (folder / "f").write_bytes(b"x")
                os.rename(folder, tmp_path / f"e{number % 5}")
            except OSError:
                pass
            for name in os.listdir(tmp_path):
                try:
                    os.unlink(tmp_path / name / "f")
                    os.rmdir(tmp_path / name)
                    os.symlink("/", tmp_path / f"d{number % 7}")
                    os.unlink(tmp_path / f"d{number % 7}")
                except OSError:
                    pass
            number += 1

    thread = threading.Thread(target=churn, daemon=True)
    thread.start()
    try:
        for _ in range(300):
            assert use(tmp_path).whole
    finally:
        stop.set()
        thread.join()
