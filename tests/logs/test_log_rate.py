"""The rate limit on output: whole lines go, one line says so, and the end always stays."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from trainbox_guest.shim.capped_log import CappedLog
from trainbox_guest.shim.log_rate import LogRate, RateGate

TIGHT = LogRate(bytes_per_s=100, lines_per_s=10, burst_s=1)
NOTICE = re.compile(rb"\[trainbox: (\d+) lines \((\d+) bytes\) left out here: over (.*)\]\n")


def passed(rate: LogRate, *pieces: tuple[float, bytes]) -> bytes:
    gate = RateGate(rate)
    return b"".join([gate.through(data, at) for at, data in pieces]) + gate.end()


def test_what_is_slow_enough_passes_untouched() -> None:
    lines = [(float(second), b"x" * 90 + b"\n") for second in range(100)]
    assert passed(TIGHT, *lines) == b"".join(data for _, data in lines)


def test_burst_passes_untouched() -> None:
    gate = RateGate(TIGHT)
    assert gate.through(b"x" * 100, 0.0) == b"x" * 100
    assert not gate.dropped


def test_too_many_lines_are_cut_at_a_line_and_counted() -> None:
    gate = RateGate(TIGHT)
    assert gate.through(b"a\n" * 15, 0.0) == b"a\n" * 10
    assert gate.through(b"b\n" * 5, 0.1) == b""
    again = gate.through(b"c\nd\n", 0.5)
    assert again == b"[trainbox: 11 lines (22 bytes) left out here: over 10 lines a second]\nd\n"
    assert gate.dropped


def test_too_many_bytes_name_that_limit() -> None:
    gate = RateGate(TIGHT)
    line = b"x" * 59 + b"\n"
    assert gate.through(line * 3, 0.0) == line
    told = gate.through(b"\nok\n", 10.0)
    assert told == b"[trainbox: 3 lines (121 bytes) left out here: over 100 bytes a second]\nok\n"


def test_line_that_was_open_is_ended_before_the_notice() -> None:
    gate = RateGate(TIGHT)
    assert gate.through(b"half a line", 0.0) == b"half a line"
    gate.through(b"x" * 200 + b"\n", 0.0)
    assert gate.through(b"\nnext\n", 10.0).startswith(b"\n[trainbox: ")


def test_last_words_of_a_flood_are_kept_whole() -> None:
    flood = b"noise\n" * 50_000
    said = passed(TIGHT, (0.0, flood), (0.0, b"Traceback\nValueError: why\n"))
    assert said.endswith(b"noise\nTraceback\nValueError: why\n")
    [(lines, size, _)] = NOTICE.findall(said)
    assert int(lines) + NOTICE.sub(b"", said).count(b"\n") == 50_002
    assert int(size) + len(NOTICE.sub(b"", said)) == len(flood) + 26


def test_clock_that_jumps_back_gives_nothing_and_breaks_nothing() -> None:
    gate = RateGate(TIGHT)
    gate.through(b"x" * 100, 1000.0)
    assert gate.through(b"y" * 50 + b"\n", 10.0) == b""
    assert gate.through(b"\nz\n", 11.0).endswith(b"z\n")


@given(
    pieces=st.lists(
        st.tuples(
            st.floats(0, 1.0),
            st.lists(st.sampled_from([b"a\n", b"long line " * 9 + b"\n", b"open", b"\n"])),
        ),
        max_size=40,
    )
)
def test_every_line_is_there_or_counted(pieces: list[tuple[float, list[bytes]]]) -> None:
    at, came, gate = 0.0, b"", RateGate(TIGHT)
    said = b""
    for wait, parts in pieces:
        at += wait
        data = b"".join(parts)
        came += data
        said += gate.through(data, at)
    said += gate.end()
    notices = NOTICE.findall(said)
    kept = NOTICE.sub(b"", said)
    more = len(kept) + sum(int(size) for _, size, _ in notices) - len(came)
    assert 0 <= more <= len(notices), "at most the end of a line before each notice"
    if not gate.dropped:
        assert said == came


def test_log_says_that_it_is_not_whole(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", 10_000, TIGHT)
    log.append(b"a\n" * 15, at=1.0)
    assert not log.whole
    log.close()
    assert (tmp_path / "log").read_bytes() == b"a\n" * 15, "few enough to be kept at the end"
