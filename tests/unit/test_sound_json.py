"""What every encoder takes, and an answer that is written whatever was stored."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbox.store import codec
from trainbox_sdk.sound_json import DEEPEST, TOO_DEEP, json_bytes, sound

ANY_TEXT = st.text(st.characters())  # halves of surrogate pairs too
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
)


def nested(levels: int, inside: object = 1) -> object:
    for _ in range(levels):
        inside = [inside]
    return inside


@given(ANY_JSON)
def test_any_json_can_be_written_and_what_is_mended_stays_so(value: object) -> None:
    told = json_bytes(value)
    told.decode()
    assert told == json_bytes(sound(value))
    assert json.loads(told) == sound(json.loads(told))


def test_halves_of_pairs_are_replaced_and_whole_pairs_are_not() -> None:
    assert sound({"\ud800k": ["\udfff", "caf\udce9", "😀"]}) == {
        "\ufffdk": ["\ufffd", "caf\ufffd", "😀"]
    }


@pytest.mark.parametrize("levels", [DEEPEST + 1, 300, 400], ids=str)
def test_nesting_is_cut_where_it_is_too_deep(levels: int) -> None:
    told = json.loads(json_bytes(nested(levels))) if levels > 250 else sound(nested(levels))
    for _ in range(DEEPEST):
        (told,) = told
    assert told == TOO_DEEP


def test_a_mended_answer_still_has_its_times_and_no_infinity() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)
    told = json.loads(json_bytes({"at": at, "n": float("inf"), "text": "\ud800"}))
    assert told == {"at": "2026-01-02T00:00:00Z", "n": None, "text": "\ufffd"}


@pytest.mark.parametrize(
    "value",
    [{"a\ud800": "\udead"}, {"a": nested(300)}, {"x": [{"y": "\udc80"}]}],
    ids=["halves", "nested", "inside"],
)
def test_a_row_of_an_earlier_version_is_mended_when_it_is_read(value: object) -> None:
    read = codec.load(codec.dump(value))
    assert read == sound(value) != value
    json.dumps(read, ensure_ascii=False).encode()


def test_a_sound_row_is_read_as_it_was_written() -> None:
    value = {"many": [{"n": n, "face": "😀", "list": [1]} for n in range(200)]}
    assert codec.load(codec.dump(value)) == value
