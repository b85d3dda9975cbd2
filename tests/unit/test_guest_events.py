"""A guest's event file is hostile: what is read of it is whole lines, once, and never a crash."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbox.clock import now
from trainbox.engine import guest_words
from trainbox.engine.guest_events import (
    CHUNK,
    MAX_EVENTS_PER_READ,
    MAX_FILE_BYTES,
    last_failure,
    read_events,
)
from trainbox.store.codec import dump
from trainbox.store.times import micros, moment


def line(n: int = 0, **more) -> bytes:
    return json.dumps({"t": "metric", "at": 1, "name": "n", "value": n, **more}).encode() + b"\n"


def read_all(path: Path, offset: int = 0) -> list[int]:
    values = []
    while True:
        read = read_events(path, offset)
        values += [event.data.get("value") for event in read.events]
        if read.offset == offset:
            return values
        offset = read.offset


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_whole_lines_count_and_the_offset_is_behind_them(path: Path) -> None:
    path.write_bytes(line(1) + line(2) + b'{"t":"metr')
    read = read_events(path, 0)
    assert [event.data["value"] for event in read.events] == [1, 2]
    assert read.offset == len(line(1) + line(2))
    with path.open("ab") as file:
        file.write(b'ic","at":1,"name":"n","value":3}\n')
    assert read_all(path, read.offset) == [3]


def test_an_absent_file_is_empty(path: Path) -> None:
    assert read_events(path, 0) == read_events(path, 0).__class__((), 0)
    assert last_failure(path) is None


def test_a_link_is_not_followed(path: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(line(1))
    path.symlink_to(tmp_path / "other")
    assert read_events(path, 0).events == ()
    assert last_failure(path) is None


def test_a_pipe_does_not_block(path: Path) -> None:
    os.mkfifo(path)
    assert read_events(path, 0).events == ()
    assert last_failure(path) is None


def test_a_directory_is_empty(path: Path) -> None:
    path.mkdir()
    assert read_events(path, 0).events == ()


def test_descriptors_are_given_back(path: Path, tmp_path: Path) -> None:
    path.write_bytes(line(1))
    os.mkfifo(tmp_path / "pipe")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        read_events(path, 0)
        read_events(tmp_path / "pipe", 0)
        last_failure(path)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_cut_short_is_waited_for(path: Path) -> None:
    path.write_bytes(line(1) + line(2))
    offset = read_events(path, 0).offset
    path.write_bytes(line(3))
    assert read_events(path, offset) == read_events(path, offset).__class__((), offset)


def test_a_line_of_hundreds_of_kilobytes_is_stepped_over(path: Path) -> None:
    path.write_bytes(line(1) + b'{"t":"message","text":"' + b"x" * 300_000 + b'"}\n' + line(2))
    assert read_all(path) == [1, 2]


def test_an_endless_line_is_stepped_over_as_it_grows(path: Path) -> None:
    path.write_bytes(b"x" * (CHUNK + 10))
    assert read_events(path, 0).offset == CHUNK
    assert read_events(path, CHUNK).offset == CHUNK


def test_an_event_over_the_protocols_size_is_left_out(path: Path) -> None:
    path.write_bytes(line(1) + line(2, text="x" * 20_000) + line(3))
    assert read_all(path) == [1, 3]


def test_a_flood_is_read_up_to_a_limit_and_its_last_words_are_found(path: Path) -> None:
    block = b"".join(line(n) for n in range(1000))
    with path.open("wb") as file:
        while file.tell() < 16 * 1024**2:
            file.write(block)
        file.write(b'{"t":"failure","at":1,"code":"boom","message":"m"}\n')
    values = read_all(path)
    assert values[:1000] == list(range(1000))
    size = sum(len(line(n)) for n in values)
    assert MAX_FILE_BYTES <= size < MAX_FILE_BYTES + CHUNK
    failure = last_failure(path)
    assert failure is not None
    assert failure["code"] == "boom"


def test_last_words_are_found_behind_thousands_of_short_lines(path: Path) -> None:
    path.write_bytes(b'{"t":"failure","code":"boom"}\n' + b"\n" * 5000 + b"{}\n" * 5000)
    failure = last_failure(path)
    assert failure is not None
    assert failure["code"] == "boom"


def test_the_last_of_several_failures_counts_and_a_half_one_does_not(path: Path) -> None:
    path.write_bytes(b'{"t":"failure","code":"a"}\n{"t":"failure","code":"b"}\n{"t":"failure","co')
    failure = last_failure(path)
    assert failure is not None
    assert failure["code"] == "b"


def test_blank_lines_cost_few_reads(path: Path) -> None:
    path.write_bytes(b"\n" * (CHUNK * 2) + line(1))
    reads, offset = 0, 0
    while (read := read_events(path, offset)).offset != offset:
        reads, offset = reads + 1, read.offset
    assert reads <= 3


def test_one_read_brings_a_bounded_number_of_events(path: Path) -> None:
    path.write_bytes(b'{"t":"message"}\n' * 3000)
    assert len(read_events(path, 0).events) == MAX_EVENTS_PER_READ
    assert len(read_all(path)) == 3000


@pytest.mark.parametrize(
    "words",
    [
        b"\x00\xff\xfe\n",
        b"[]\n",
        b"{}\n",
        b'{"t":7}\n',
        b'{"t":["metric"]}\n',
        b'{"t":{"a":1}}\n',
        b'{"t":"state","state":"succeeded"}\n',
        b'{"t":"model"}\n',
        b'{"t":"metric","a":' + b"[" * 400 + b"]" * 400 + b"}\n",
        b'{"t":"metric","a":' + b"[" * 900 + b"]" * 900 + b"}\n",
        b'{"t":"metric","a":' + b"[" * 8000 + b"\n",
        b'{"t":"metric","value":' + b"9" * 5000 + b"}\n",
    ],
)
def test_words_of_no_known_kind_are_left_out_or_stored_as_they_are(path: Path, words) -> None:
    path.write_bytes(words + line(1))
    assert read_all(path)[-1] == 1


@pytest.mark.parametrize(
    "at", ["null", '"x"', "1e400", "-1e400", "9" * 400, "[1]", "true", "-62135596800", "1e300"]
)
def test_a_time_that_is_none_becomes_now(path: Path, at: str) -> None:
    path.write_bytes(b'{"t":"message","at":' + at.encode() + b"}\n")
    (event,) = read_events(path, 0).events
    assert event.at.tzinfo is not None
    assert moment(micros(event.at)) == event.at


def test_a_carriage_return_does_not_end_a_line(path: Path) -> None:
    path.write_bytes(b'{"t":"metric",\r"value":1}\r\n')
    assert read_all(path) == [1]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(
    st.lists(
        st.one_of(
            st.binary(max_size=60),
            st.dictionaries(st.text(max_size=3), json_values, max_size=3).map(
                lambda d: json.dumps({"t": "metric", **d}).encode()
            ),
            st.dictionaries(st.just("at"), json_values).map(
                lambda d: json.dumps({"t": "failure", **d}).encode()
            ),
        ),
        max_size=8,
    ),
    st.data(),
)
def test_read_in_any_pieces_it_is_the_same_and_the_store_takes_it(
    tmp_path_factory, lines, data
) -> None:
    path = tmp_path_factory.mktemp("events") / "events.jsonl"
    content = b"".join(each + b"\n" for each in lines)
    path.write_bytes(content)
    whole = read_events(path, 0)
    assert whole.offset == len(content)
    last_failure(path)
    offset, events = 0, []
    for end in sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=5))):
        path.write_bytes(content[:end])
        read = read_events(path, offset)
        events += read.events
        offset = read.offset
    path.write_bytes(content)
    events += read_events(path, offset).events
    assert [(e.kind, repr(e.data)) for e in events] == [
        (e.kind, repr(e.data)) for e in whole.events
    ]
    for event in events:
        dump(event.data)
        assert moment(micros(event.at)) == event.at


def test_nothing_a_guest_says_steers_a_terminal_or_turns_text_round(path: Path) -> None:
    events = [
        {"t": "metric", "name": "a\x1b[31m\u202eb\nc", "value": 1, "labels": {"k\x00": ["\x9b"]}},
        {"t": "message", "text": "one\r\ntwo\tthree\x1b[2J\u2066\ud800 \u200d\u00e9"},
        {"t": "failure", "code": "x", "message": "line one\nline\x07 two", "hint": "\u2028"},
    ]
    path.write_text("".join(json.dumps(event) + "\n" for event in events))
    metric, message, failure = (dict(event.data) for event in read_events(path, 0).events)
    assert metric == {"name": "a\ufffd[31m\ufffdb c", "value": 1, "labels": {"k\ufffd": ["\ufffd"]}}
    assert message == {"text": "one\ntwo\tthree\ufffd[2J\ufffd\ufffd \u200d\u00e9"}
    assert failure == {"code": "x", "message": "line one line\ufffd two", "hint": " "}
    assert last_failure(path) == failure


@given(st.text())
def test_what_is_fit_to_be_shown_is_one_line_and_stays_so(text: str) -> None:
    shown = guest_words.line(text)
    assert len(shown.splitlines()) <= 1
    assert guest_words.line(shown) == shown
    assert guest_words.lines(shown) == shown
    shown.encode()


def test_an_event_is_dated_within_its_attempt(path: Path) -> None:
    since = now() - timedelta(hours=1)
    within = (since + timedelta(minutes=5)).timestamp()
    ats = [-62135596800, 0, within, 253402300799, "x", 10**400]
    path.write_text("".join(json.dumps({"t": "message", "at": at}) + "\n" for at in ats))
    before = now()
    first, second, third, *late = (each.at for each in read_events(path, 0, since).events)
    assert (first, second, third.timestamp()) == (since, since, pytest.approx(within))
    assert len(late) == 3 and all(before <= at <= now() for at in late)


def test_nesting_is_cut_and_the_event_told(path: Path) -> None:
    path.write_text('{"t":"message","text":"x","d":%s}\n' % ("[" * 300 + "]" * 300))
    (event,) = read_events(path, 0).events
    inner = event.data["d"]
    for _ in range(guest_words.DEEPEST - 1):
        (inner,) = inner
    assert (event.data["text"], inner) == ("x", "…")
