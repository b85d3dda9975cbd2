"""When each piece of a log came, noted beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbox_guest.shim.capped_log import CappedLog
from trainbox_guest.shim.log_times import STDERR, STDOUT, SUFFIX, UNKNOWN, Piece, parse


def beside(path: Path) -> list[Piece]:
    return parse(Path(f"{path}{SUFFIX}").read_bytes())


def test_pieces_of_a_tenth_of_a_second_share_an_entry(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", 10_000)
    for at in (5.0, 5.05, 5.09, 5.11, 6.0):
        log.append(b"x\n", STDOUT, at)
    log.close()
    assert beside(tmp_path / "log") == [
        (0, 5000, STDOUT),
        (6, 5110, STDOUT),
        (8, 6000, STDOUT),
    ]


def test_change_of_stream_begins_an_entry(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", 10_000)
    for stream in (STDOUT, STDERR, STDERR, STDOUT):
        log.append(b"x\n", stream, 1.0)
    log.close()
    assert [(p.offset, p.stream) for p in beside(tmp_path / "log")] == [
        (0, STDOUT),
        (2, STDERR),
        (6, STDOUT),
    ]


def test_remembered_end_has_its_own_times(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", 400)
    for second in range(100):
        log.append(b"line %03d\n" % second, STDERR, float(second))
    log.close()
    found = (tmp_path / "log").read_bytes()
    for piece in beside(tmp_path / "log"):
        if piece.stream == UNKNOWN:
            assert found[piece.offset :].startswith(b"\n[trainbox: ")
            continue
        line = found[piece.offset :].lstrip(b"\n").split(b"\n")[0]
        if line.startswith(b"line "):
            assert int(line.split()[1]) == piece.at_ms // 1000
    assert beside(tmp_path / "log")[-1].at_ms == 99_000


@given(
    pieces=st.lists(
        st.tuples(st.binary(min_size=1, max_size=50), st.sampled_from([1, 2]), st.floats(0, 1)),
        max_size=60,
    ),
    limit=st.integers(200, 1000),
)
def test_entries_are_in_order_and_within_the_log(
    tmp_path_factory: pytest.TempPathFactory,
    pieces: list[tuple[bytes, int, float]],
    limit: int,
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log, at = CappedLog(path, limit), 0.0
    for data, stream, wait in pieces:
        at += wait
        log.append(data, stream, at)
    log.close()
    if not pieces:
        assert not Path(f"{path}{SUFFIX}").exists()
        return
    offsets = [piece.offset for piece in beside(path)]
    assert offsets[0] == 0
    assert offsets == sorted(set(offsets))
    assert offsets[-1] < path.stat().st_size


def test_alternating_lines_stay_cheap(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", 8 * 1024**2)
    for number in range(120_000):
        log.append(b"x\n", 1 + number % 2, number / 1000)
    log.close()
    assert len(beside(tmp_path / "log")) < 50_100
    assert beside(tmp_path / "log")[-1].stream == UNKNOWN


def test_entry_cut_in_two_is_left_out(tmp_path: Path) -> None:
    log = CappedLog(tmp_path / "log", 1000)
    log.append(b"a\n", STDOUT, 1.0)
    log.append(b"b\n", STDERR, 2.0)
    log.close()
    data = Path(f"{tmp_path / 'log'}{SUFFIX}").read_bytes()
    assert len(parse(data[:-1])) == 1


def test_times_that_cannot_be_written_cost_no_log(tmp_path: Path) -> None:
    Path(f"{tmp_path / 'log'}{SUFFIX}").mkdir()
    log = CappedLog(tmp_path / "log", 1000)
    log.append(b"a\n")
    log.append(b"b\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"a\nb\n"
