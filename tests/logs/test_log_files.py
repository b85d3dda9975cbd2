"""Logs on disk: packed once nobody writes to them, and read the same before, during and after."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import given, settings
from hypothesis import strategies as st

from trainbox.engine.evidence import last_lines
from trainbox.engine.log_files import DamagedLog, LogFile
from trainbox.engine.log_reading import LogCursor, LogShelf
from trainbox_guest.shim.capped_log import CappedLog
from trainbox_sdk.job_logs import LogFilter, LogLevel, LogPage

HOSTILE = b"one\n\xff\xfe\x00\x1b[31mtwo\n" + os.urandom(300_000) + b"\nlast"


def a_log(folder: Path, data: bytes, name: str = "att_1.log") -> LogFile:
    log = CappedLog(folder / name, 10**8)
    log.append(data, 2, 5.0)
    log.close()
    return LogFile(folder / name)


def whole(*logs: LogFile, begin: int = 0) -> bytes:
    cursor, found = LogCursor(), b""
    while chunk := cursor.read(logs, begin + len(found)):
        found += chunk
    cursor.close()
    return found


def texts(page: LogPage) -> list[str]:
    return [line.message for line in page.lines]


def test_packed_log_is_the_same_bytes_under_another_name(tmp_path: Path) -> None:
    log = a_log(tmp_path, HOSTILE)
    before = log.pieces()
    log.pack()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "att_1.log.times.zst",
        "att_1.log.zst",
    ]
    assert log.read() == HOSTILE
    assert zstd.decompress(log.packed.read_bytes()) == HOSTILE, "by any zstd"
    assert log.pieces() == before != []
    found = log.identity()
    assert found is not None
    assert (found.bytes, found.packed) == (len(HOSTILE), True)


def test_empty_log_and_missing_notes_are_packed_too(tmp_path: Path) -> None:
    log = a_log(tmp_path, b"")
    log.pack()
    assert log.read() == b""
    assert log.identity() is not None
    assert log.pieces() == []


def test_compression_is_worth_it(tmp_path: Path) -> None:
    log = a_log(tmp_path, b"epoch 1 of 100: loss 0.125\n" * 10_000)
    log.pack()
    assert log.packed.stat().st_size < 1000


def test_packing_again_after_a_crash_in_between(tmp_path: Path) -> None:
    log = a_log(tmp_path, HOSTILE)
    log.packed.write_bytes(b"half")
    log.packed.with_name(log.packed.name + ".part").write_bytes(b"rest")
    assert log.read() == HOSTILE, "the plain file counts while it is there"
    log.pack()
    assert log.read() == HOSTILE
    assert not log.path.exists()
    assert len(list(tmp_path.iterdir())) == 2


def test_log_deleted_while_it_is_packed_stays_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = a_log(tmp_path, HOSTILE)
    sync = os.fsync

    def fsync_and_delete(fd: int) -> None:
        sync(fd)
        log.path.unlink(missing_ok=True)

    monkeypatch.setattr(os, "fsync", fsync_and_delete)
    log.times.path.unlink()
    log.pack()
    assert list(tmp_path.iterdir()) == []


@settings(max_examples=40)
@given(begin=st.integers(0, len(HOSTILE) + 10), packed=st.tuples(st.booleans(), st.booleans()))
def test_bytes_from_any_place_over_plain_and_packed(
    tmp_path_factory: pytest.TempPathFactory, begin: int, packed: tuple[bool, bool]
) -> None:
    folder = tmp_path_factory.mktemp("logs")
    logs = [a_log(folder, HOSTILE, "a.log"), a_log(folder, b"second\n", "b.log")]
    for log, pack in zip(logs, packed, strict=True):
        if pack:
            log.pack()
    logs.insert(1, LogFile(folder / "none.log"))
    assert whole(*logs, begin=begin) == (HOSTILE + b"second\n")[begin:]


def test_reader_goes_on_where_it_stood_while_the_log_is_packed_and_deleted(tmp_path: Path) -> None:
    log, cursor = a_log(tmp_path, HOSTILE), LogCursor()
    first = cursor.read([log], 0)
    log.pack()
    second = cursor.read([log], len(first))
    assert HOSTILE.startswith(first + second)
    log.packed.unlink()
    assert cursor.read([log], len(first + second)) == b""
    cursor.close()


@pytest.mark.parametrize(
    "damage", [lambda data: data[: len(data) // 2], lambda _: b"", lambda _: b"no zstd at all"]
)
def test_damaged_log_is_no_crash(tmp_path: Path, damage) -> None:
    log, other = a_log(tmp_path, HOSTILE, "a.log"), a_log(tmp_path, b"fine\n", "b.log")
    log.pack()
    log.packed.write_bytes(damage(log.packed.read_bytes()))
    with pytest.raises(DamagedLog):
        log.read()
    assert HOSTILE.startswith(whole(log))
    assert texts(LogShelf().page([(1, log), (2, other)], LogFilter())) == ["fine"]
    assert last_lines(log.path) == ()


def test_last_lines_are_the_same_of_a_packed_log(tmp_path: Path) -> None:
    log = a_log(tmp_path, b"x\n" * 200_000 + b"\x1b[31mValueError: \x07no\x1b[0m\n")
    before = last_lines(log.path, 3)
    assert before == ("x", "x", "ValueError: no")
    log.pack()
    assert last_lines(log.path, 3) == before


# --- lines


def test_growing_log_is_parsed_on_from_where_it_was(tmp_path: Path) -> None:
    log, shelf = LogFile(tmp_path / "a.log"), LogShelf(part_bytes=64)
    lines: list[str] = []
    with log.path.open("ab", buffering=0) as file:
        for number in range(60):
            file.write(b"WARNING: line %d, first half " % number)
            half = shelf.page([(1, log)], LogFilter(tail=True, limit=1))
            assert texts(half) == [f"WARNING: line {number}, first half "]
            file.write(b"and second\n")
            lines.append(f"WARNING: line {number}, first half and second")
            assert texts(shelf.page([(1, log)], LogFilter())) == lines
    log.pack()
    found = shelf.page([(1, log)], LogFilter(level=LogLevel.WARNING))
    assert texts(found) == lines
    assert [line.number for line in found.lines] == list(range(1, 61))


def test_only_the_last_part_is_read_again(tmp_path: Path) -> None:
    log, shelf = a_log(tmp_path, b"0123456\n" * 100), LogShelf(part_bytes=64)

    def parts() -> list[object]:
        shelf.page([(1, log)], LogFilter())
        return list(shelf._shelf[log.path].parts)

    first = parts()
    assert len(first) == 13
    assert parts() == first
    with log.path.open("ab") as file:
        file.write(b"more\n")
    grown = parts()
    assert all(old is new for old, new in zip(first[:-1], grown, strict=False))
    log.pack()
    assert all(old is new for old, new in zip(grown, parts(), strict=True)), "no byte has changed"


def test_log_written_anew_is_parsed_anew(tmp_path: Path) -> None:
    log, shelf = a_log(tmp_path, b"one\n"), LogShelf()
    assert texts(shelf.page([(1, log)], LogFilter())) == ["one"]
    (tmp_path / "new").write_bytes(b"other\nlines\n")
    (tmp_path / "new").replace(log.path)
    assert texts(shelf.page([(1, log)], LogFilter())) == ["other", "lines"]


def test_line_longer_than_a_part_stays_one_line(tmp_path: Path) -> None:
    log = a_log(tmp_path, b"a\n" + b"x" * 500 + b"\nb\n" + b"y" * 500)
    found = LogShelf(part_bytes=64).page([(1, log)], LogFilter())
    assert texts(found) == ["a", "x" * 500, "b", "y" * 500]


def test_memory_of_parsed_logs_is_bounded(tmp_path: Path) -> None:
    shelf = LogShelf(cache_bytes=100_000)
    logs = [a_log(tmp_path, b"x\n" * 10_000, f"{n}.log") for n in range(5)]
    for log in logs:
        assert shelf.page([(1, log)], LogFilter(limit=1)).total == 10_000
    assert sum(parsed.cost for parsed in shelf._shelf.values()) <= 100_000
    assert shelf.page([(1, logs[0])], LogFilter(limit=1)).total == 10_000


def test_times_appear_as_they_are_noted(tmp_path: Path) -> None:
    log, shelf = CappedLog(tmp_path / "a.log", 1000), LogShelf()
    for second, word in enumerate((b"one\n", b"two\n"), start=1):
        log.append(word, second, float(second))
        found = shelf.page([(1, LogFile(tmp_path / "a.log"))], LogFilter(tail=True, limit=1))
        assert found.lines[0].at is not None
        assert found.lines[0].at.timestamp() == second
        assert found.lines[0].stream == ("stdout", "stderr")[second - 1]
    log.close()
