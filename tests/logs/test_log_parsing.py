"""From bytes to lines fit to be shown, and the choice among them."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbox_guest.shim.log_times import STDERR, STDOUT, Piece
from trainbox_sdk.job_logs import LogFilter, LogLevel, LogPage
from trainbox_sdk.log_parsing import MAX_LINE_BYTES, AttemptLog, choose, parse, shown


def page(*logs: bytes, pieces: tuple[Piece, ...] = (), **which) -> LogPage:
    attempts = [
        AttemptLog(number, [parse(data)] if data else [], pieces)
        for number, data in enumerate(logs, start=1)
    ]
    return choose(attempts, LogFilter(**which))


def messages(*logs: bytes, **which) -> list[str]:
    return [line.message for line in page(*logs, **which).lines]


# --- text


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"plain\ttext\n", "plain\ttext\n"),
        (b"\x1b[31mred\x1b[0m\x1b[K", "red"),
        (b"\x1b]0;owned\x07title", "title"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"\x1bP+q544e\x1b\\dcs", "dcs"),
        (b"\x1b]52;c;never ends\nnext", "52;c;never ends\nnext"),
        (b"\x1b(B\x1b=x\x1bcy", "xy"),
        (b"end\x1b", "end"),
        ("\x9b31mc1\x9d0;t\x9c.".encode(), "c1."),
        (b"a\x00b\x08c\x7fd\x0be\x0cf", "abcdef"),
        (b"\xff\xfe bad", "\ufffd\ufffd bad"),
        ("über \u202egnp.exe".encode(), "über \\u202egnp.exe"),
        ("a\u2028b\u0085c".encode(), "a\\u2028bc"),
        ("…".encode(), "…"),
        (b"windows\r\nline\r\n", "windows\nline\n"),
        (b"  0%\r 50%\r100%\nnext", "100%\nnext"),
        (b"100%\r\r\n", "100%\n"),
    ],
)
def test_text_fit_to_be_shown(data: bytes, text: str) -> None:
    assert shown(data) == text


@given(st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_any_bytes_become_as_many_harmless_lines(data: bytes) -> None:
    text = shown(data)
    assert text.count("\n") == data.count(b"\n")
    for char in text:
        assert char in "\n\t" or unicodedata.category(char) != "Cc"
        assert unicodedata.bidirectional(char) not in {
            *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"),
        }


@given(st.binary(max_size=300), st.integers(0, 300))
def test_parts_together_are_the_whole(data: bytes, near: int) -> None:
    cut = data.find(b"\n", near) + 1
    parts = [parse(data[:cut]), parse(data[cut:], cut)]
    both = choose([AttemptLog(1, [part for part in parts if part.ranks])], LogFilter())
    one = choose([AttemptLog(1, [parse(data)])], LogFilter())
    assert [line.message for line in both.lines] == [line.message for line in one.lines]
    assert both.total == one.total == len(parse(data).ends)
    if data:
        assert parse(data).ends[-1] >= len(data)


def test_long_line_is_cut_where_it_is_shown() -> None:
    [line] = messages(b"x" * 100_000)
    assert line.endswith(" […]")
    assert len(line.encode()) == MAX_LINE_BYTES
    [line] = messages("ü".encode() * 100_000)
    assert len(line.encode()) in (MAX_LINE_BYTES, MAX_LINE_BYTES - 1)


# --- choice

LOG = b"INFO:a:one\nWARNING:a:two\nDEBUG:a:three\nERROR:a:four\nINFO:a:Five\n"


def test_all_lines_of_all_attempts_are_numbered_through() -> None:
    found = page(b"one\ntwo", b"", b"three\n")
    assert [(line.number, line.attempt, line.message) for line in found.lines] == [
        (1, 1, "one"),
        (2, 1, "two"),
        (3, 3, "three"),
    ]
    assert (found.matching, found.total) == (3, 3)


@pytest.mark.parametrize(
    ("level", "count"), [("debug", 5), ("info", 4), ("warning", 2), ("error", 1)]
)
def test_level_asks_for_at_least_so_grave(level: str, count: int) -> None:
    found = page(LOG, level=LogLevel(level))
    assert (found.matching, found.total) == (count, 5)
    assert all(line.level.rank >= LogLevel(level).rank for line in found.lines)


def test_text_is_found_whatever_its_case_and_beside_the_level() -> None:
    assert messages(LOG, text="FIVE") == ["INFO:a:Five"]
    assert messages(LOG, text="a:t") == ["WARNING:a:two", "DEBUG:a:three"]
    assert messages(LOG, text="a:t", level=LogLevel.WARNING) == ["WARNING:a:two"]
    assert messages(LOG, text="nowhere") == []
    assert messages("Größe İstanbul\nx\n".encode(), text="GRÖSSE") == []
    assert messages("Größe İstanbul\nx\n".encode(), text="größE") == ["Größe İstanbul"]


def test_text_is_looked_for_in_what_is_shown() -> None:
    assert messages(b"lo\x1b[1mss\x1b[0m 0.1\n", text="loss") == ["loss 0.1"]


@given(
    counts=st.lists(st.integers(0, 5), max_size=4),
    limit=st.integers(1, 7),
    offset=st.integers(0, 25),
    tail=st.booleans(),
)
def test_pages_are_slices(counts: list[int], limit: int, offset: int, tail: bool) -> None:
    logs = [b"".join(b"%d.%d\n" % (n, m) for m in range(count)) for n, count in enumerate(counts)]
    every = [text for log in logs for text in log.decode().splitlines()]
    end = max(0, len(every) - offset)
    expected = every[max(0, end - limit) : end] if tail else every[offset : offset + limit]
    assert messages(*logs, limit=limit, offset=offset, tail=tail) == expected


# --- times


def test_line_has_the_time_and_stream_of_its_beginning() -> None:
    pieces = (Piece(0, 1_000, STDOUT), Piece(4, 2_057, STDERR), Piece(13, 3_000, STDOUT))
    found = page(b"one\ntwo\nthree\nfour", pieces=pieces)
    assert [(line.at, line.stream) for line in found.lines] == [
        (datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC), "stdout"),
        (datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC), "stderr"),
        (datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC), "stderr"),
        (datetime(1970, 1, 1, 0, 0, 3, tzinfo=UTC), "stdout"),
    ]


def test_without_notes_a_line_has_no_time() -> None:
    [line] = page(b"one\n").lines
    assert (line.at, line.stream) == (None, "")


@pytest.mark.parametrize("at_ms", [2**62, -(2**62)])
def test_damaged_note_costs_the_time_and_not_the_line(at_ms: int) -> None:
    [line] = page(b"one\n", pieces=(Piece(0, at_ms, 99),)).lines
    assert (line.at, line.stream, line.message) == (None, "", "one")
