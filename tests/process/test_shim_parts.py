"""The shim's parts alone: the capped log, the disk count, the notes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainbox_guest.shim import notes
from trainbox_guest.shim.disk import disk_use
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


def test_disk_that_takes_no_more_costs_the_log_and_not_the_step() -> None:
    output = Output("/dev/full", 1000)
    for piece in (b"first", b"second"):
        os.write(output.write_end, piece)
        assert output.pump()
    output.started()
    output.finish()
    assert output.seen == 11
    assert "No space left" in output.trouble


def as_nobody(work: Callable[[], object]) -> str:
    """Return what the call returns in a child that is no root; a root is let in everywhere."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setuid(65534)
            os.write(writer, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        said = pipe.read()
    os.wait()
    return said


@pytest.mark.parametrize("closed", ["", "below"])
def test_directory_closed_to_the_watcher_is_too_much(closed: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        (root / "below").mkdir()
        root.chmod(0o755)
        (root / closed).chmod(0)
        assert "whole=False" in as_nobody(
            lambda: disk_use([root], limit_bytes=10**9, limit_entries=1000)
        )


def test_directory_removed_during_the_walk_is_not_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "brief").mkdir()
    stat = os.stat

    def then_gone(path: Any, **options: Any) -> os.stat_result:
        found = stat(path, **options)
        if path == "brief":
            os.rmdir(tmp_path / "brief")
        return found

    monkeypatch.setattr(os, "stat", then_gone)
    assert disk_use([tmp_path], limit_bytes=10**9, limit_entries=1000).whole
    assert not (tmp_path / "brief").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"'])
def test_a_note_that_is_not_whole_is_no_note(tmp_path: Path, text: str) -> None:
    (tmp_path / notes.EXIT).write_text(text)
    assert notes.read(str(tmp_path), notes.EXIT) is None
