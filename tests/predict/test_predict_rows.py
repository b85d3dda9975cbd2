"""JSON rows against a signature: what is taken, what is refused, and in which words."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from trainbox.engine import predict_rows
from trainbox.engine.predict_values import Wrong, epoch_seconds, read_signature
from trainbox.workers.predict_wire import Output
from trainbox_sdk.errors import TooLarge, Unavailable, ValidationFailed

SIGNATURE = {
    "inputs": [
        {"name": "n", "type": "number", "dtype": "float"},
        {"name": "d", "type": "number", "dtype": "double"},
        {"name": "i", "type": "number", "dtype": "int64"},
        {"name": "b", "type": "boolean", "dtype": "float"},
        {"name": "s", "type": "string", "dtype": "string"},
        {"name": "t", "type": "datetime", "dtype": "int64"},
    ]
}
GOOD = {"n": 1.5, "d": 2, "i": 3, "b": True, "s": "x", "t": "2024-01-01"}
INPUTS = read_signature(SIGNATURE)


def columns(*rows, max_rows=1000):
    return predict_rows.to_columns(INPUTS, list(rows), max_rows)


def refused(*rows):
    with pytest.raises(ValidationFailed) as caught:
        columns(*rows)
    return caught.value


def test_good_row():
    assert columns(GOOD) == {
        "n": [1.5],
        "d": [2.0],
        "i": [3],
        "b": [True],
        "s": ["x"],
        "t": [1704067200],
    }


def test_null_is_a_missing_value():
    taken = columns({**GOOD, "n": None, "d": None, "b": None, "s": None, "t": None})
    assert taken | {"i": [3]} == {name: [None] for name in GOOD} | {"i": [3]}


@pytest.mark.parametrize(
    ("column", "value", "words", "hint"),
    [
        ("n", "1.5", "must be a number, not the string '1.5'", "12.5"),
        ("n", True, "must be a number, not the boolean true", "null"),
        ("n", [1], "must be a number, not a list", ""),
        ("n", {"v": 1}, "must be a number, not an object", ""),
        ("n", 3.5e38, "must be a finite number of type float, not 3.5e+38", ""),
        ("n", 10**400, "must be a finite number of type float", ""),
        ("n", float("nan"), "must be a finite number", ""),
        ("n", float("-inf"), "must be a finite number", ""),
        ("d", 10**400, "must be a finite number of type double", ""),
        ("i", 1.5, "must be an integer", ""),
        ("i", 2**63, "must be an integer from", ""),
        ("i", None, "must be a number, not null", "no missing value"),
        ("b", 1, "must be true or false, not the number 1", "0 and 1 are numbers"),
        ("b", "true", "must be true or false, not the string 'true'", ""),
        ("s", 7, "must be a string, not the number 7", '"7"'),
        ("s", False, "must be a string, not the boolean false", ""),
        ("s", "\ud800", "half a surrogate pair", ""),
        ("s", "a\0b", "NUL", ""),
        ("t", 1704067200, "must be a datetime, not the number 1704067200", "ISO 8601"),
        ("t", "31.12.2024", "must be a datetime, not the string '31.12.2024'", "ISO 8601"),
        ("t", "2024-02-30", "day is out of range", "ISO 8601"),
        ("t", "", "must be a datetime", "ISO 8601"),
        ("t", "2024-W01-1", "must be a datetime", ""),
        ("t", "2024-01-01T25:00", "must be a datetime", ""),
    ],
)
def test_wrong_value_is_named(column, value, words, hint):
    error = refused(GOOD, {**GOOD, column: value})
    assert error.code == "bad_rows"
    assert [each.loc for each in error.errors] == [("rows", 1, column)]
    assert words in error.errors[0].msg
    assert hint in error.errors[0].hint
    assert error.message.startswith(f"rows[1] column '{column}': ")


def test_absent_key_is_an_error_and_says_how_to_send_a_gap():
    error = refused({name: value for name, value in GOOD.items() if name != "s"})
    assert error.errors[0].loc == ("rows", 0, "s")
    assert error.errors[0].msg == "is missing"
    assert "null" in error.errors[0].hint


def test_extra_key_is_an_error_and_lists_what_there_is():
    error = refused({**GOOD, "target": 1})
    assert error.errors[0].loc == ("rows", 0, "target")
    assert "'s'" in error.errors[0].hint


@pytest.mark.parametrize("rows", [[], {}, None, "rows", 5])
def test_rows_must_be_a_list_with_a_row(rows):
    with pytest.raises(ValidationFailed) as caught:
        predict_rows.to_columns(INPUTS, rows, 10)
    assert caught.value.errors[0].loc == ("rows",)


@pytest.mark.parametrize("row", [None, 1, [1, 2], "x"])
def test_a_row_must_be_an_object(row):
    error = refused(GOOD, row)
    assert error.errors[0].loc == ("rows", 1)


def test_all_errors_of_all_rows_are_listed_up_to_100():
    error = refused({**GOOD, "n": "x", "b": 1}, GOOD, {**GOOD, "s": 1})
    assert [each.loc[1:] for each in error.errors] == [(0, "n"), (0, "b"), (2, "s")]
    assert "(and 2 more)" in error.message
    assert len(refused(*[{}] * 1000).errors) == 100


def test_long_values_are_cut_in_messages():
    assert len(refused({**GOOD, "n": "x" * 100_000}).errors[0].msg) < 200
    assert len(refused({**GOOD, "n": 10**4000}).errors[0].msg) < 200


def test_row_limit():
    with pytest.raises(TooLarge):
        columns(*[GOOD] * 11, max_rows=10)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01 00:00", 0),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T01:00:00 +0100", 0),
        ("1970-01-01T01:00:00+01", 0),
        ("1970-01-01T00:00:59.999999", 59),
        ("1969-12-31T23:59:59.5", -1),
        ("0001-01-01", -62135596800),
        ("9999-12-31T23:59:59", 253402300799),
    ],
)
def test_datetimes_become_whole_seconds_rounded_down(text, seconds):
    assert epoch_seconds(text) == seconds


@given(st.datetimes(timezones=st.timezones() | st.none()))
def test_any_iso_datetime_is_taken_or_refused_never_wrong(moment):
    text = moment.isoformat()
    try:
        seconds = epoch_seconds(text)
    except Wrong:
        # Offsets with seconds (old local mean times) are not among what data files have.
        assert moment.tzinfo is not None
        return
    offset = (moment.utcoffset() or moment - moment).total_seconds()
    naive = moment.replace(tzinfo=None)
    days = naive.toordinal() - 719163
    expected = days * 86400 + naive.hour * 3600 + naive.minute * 60 + naive.second - offset
    assert seconds == expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.sampled_from([*GOOD, "other"]), json_values) | json_values))
def test_any_json_is_taken_or_refused(rows):
    try:
        taken = predict_rows.to_columns(INPUTS, rows, 1000)
    except ValidationFailed as error:
        assert error.errors
    else:
        assert {len(values) for values in taken.values()} == {len(rows)}


@pytest.mark.parametrize(
    "signature", [{}, {"inputs": []}, {"inputs": [{"name": "x", "type": "?"}]}]
)
def test_signature_that_states_nothing(signature):
    with pytest.raises(Unavailable):
        read_signature(signature)


def floats(shape, *values):
    return Output("FP32", shape, struct.pack(f"<{len(values)}f", *values), per_row=True)


def test_outputs_of_the_wrong_length_are_refused():
    with pytest.raises(Unavailable):
        predict_rows.to_rows({"prediction": floats((2, 1), 1, 2)}, 3, None)


def test_probabilities_without_labels_stay_a_list():
    rows = predict_rows.to_rows({"probabilities": floats((1, 2), 0.25, 0.75)}, 1, None)
    assert rows == [{"probabilities": [0.25, 0.75]}]
