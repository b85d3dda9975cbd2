"""The shim's parts alone: the capped log, the disk count, the notes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from trainbox_guest.shim import notes
from trainbox_guest.shim.disk import DiskUse
from trainbox_guest.shim.output import Output


def write_through(path: Path, limit: int, *pieces: bytes) -> Output:
    output = Output(str(path), limit)
    for piece in pieces:
        os.write(output.write_end, piece)
        output.pump()
    output.started()
    output.finish()
    return output


def test_output_under_its_limit_is_kept_as_it_is(tmp_path: Path) -> None:
    output = write_through(tmp_path / "log", 1000, b"a\n", b"\xff\x00", b"end")
    assert (tmp_path / "log").read_bytes() == b"a\n\xff\x00end"
    assert output.seen == 7


@pytest.mark.parametrize("limit", [200, 256, 1000, 4096])
def test_output_over_its_limit_keeps_both_ends_and_says_what_is_gone(
    tmp_path: Path, limit: int
) -> None:
    lines = [b"line %05d\n" % number for number in range(1000)]
    write_through(tmp_path / "log", limit, *lines)
    kept = (tmp_path / "log").read_bytes()
    assert len(kept) <= limit
    assert kept.startswith(b"line 00000\n")
    assert kept.endswith(b"line 00999\n")
    head, marker, tail = kept.partition(b"\n[trainbox: ")
    left_out = int(tail.split(b" ")[0])
    tail = tail.split(b"]\n", 1)[1]
    assert len(head) + left_out + len(tail) == len(b"".join(lines))


def test_log_is_never_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        Output(str(tmp_path / "log"), 100)


def test_disk_use_counts_blocks_not_apparent_size_and_follows_nothing(tmp_path: Path) -> None:
    inside, outside = tmp_path / "in", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "big").write_bytes(b"x" * 1_000_000)
    (inside / "link").symlink_to(outside)
    with (inside / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    (inside / "real").write_bytes(b"x" * 8192)
    use = DiskUse([str(inside)], 10**9, 1000)
    assert use.entries == 3
    assert 8192 <= use.bytes < 100_000
    assert not use.over


def test_disk_use_stops_early(tmp_path: Path) -> None:
    for number in range(100):
        (tmp_path / str(number)).touch()
    use = DiskUse([str(tmp_path)], 10**9, 10)
    assert use.over
    assert use.entries == 11


def test_disk_use_of_what_is_gone_is_nothing(tmp_path: Path) -> None:
    assert DiskUse([str(tmp_path / "gone")], 1, 1).bytes == 0


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"'])
def test_a_note_that_is_not_whole_is_no_note(tmp_path: Path, text: str) -> None:
    (tmp_path / notes.EXIT).write_text(text)
    assert notes.read(str(tmp_path), notes.EXIT) is None
