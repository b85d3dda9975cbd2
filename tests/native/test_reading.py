"""Bodies and queries read as JSON Schema and RFC 8259 have them, not as Python's readers would."""

import json

import pytest
from pydantic import AwareDatetime, JsonValue, ValidationError

from trainbox_plugins.native.errors import Malformed
from trainbox_plugins.native.strict_json import check_json
from trainbox_plugins.native.wire import Body, Cell, Query
from trainbox_sdk.errors import ValidationFailed


class Inner(Body):
    count: int | None = None


class Outer(Body):
    size: int = 0
    inner: Inner | None = None
    many: list[int] = []
    cell: Cell = None
    any: JsonValue = None
    share: float = 0.0


def read(text):
    return Outer.model_validate_json(text)


def test_190_0_is_an_integer_wherever_one_is_meant():
    made = read('{"size": 190.0, "inner": {"count": 1e3}, "many": [2.0, 3]}')
    assert (made.size, made.inner.count, made.many) == (190, 1000, [2, 3])
    assert type(made.size) is int


def test_where_any_number_goes_it_stays_what_it_was():
    made = read('{"cell": 3.0, "any": 3.0, "share": 3}')
    assert (type(made.cell), type(made.any), type(made.share)) == (float, float, float)


@pytest.mark.parametrize("value", ["1.5", "true", '"1"', "null", "[1]", "1e400"])
def test_what_is_no_integer(value):
    with pytest.raises(ValidationError):
        read(f'{{"size": {value}}}')


def test_the_schema_keeps_its_integers():
    assert Outer.model_json_schema()["properties"]["size"]["type"] == "integer"


class Since(Query):
    since: AwareDatetime | None = None


@pytest.mark.parametrize("text", ["0.5", "1700000000", "-1", "1e9", "nan"])
def test_seconds_are_no_time(text):
    with pytest.raises(ValidationError, match="2026-01-31T12:00:00Z"):
        Since.model_validate({"since": text})


def test_a_time_is_a_time():
    assert Since.model_validate({"since": "2026-01-31T12:00:00Z"}).since.year == 2026


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 1}', '{"a": {"b": 1, "b": 2}}', '[{"a": 1, "a": 2}]', '{"a": 1, "\\u0061": 2}'],
)
def test_one_name_twice(text):
    with pytest.raises(Malformed, match="twice in one object"):
        check_json(text.encode())


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000])
def test_too_deep(text):
    with pytest.raises(Malformed, match="nested too deeply"):
        check_json(text.encode())


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_numbers_that_are_none_are_named(number):
    with pytest.raises(ValidationFailed) as caught:
        check_json(f'{{"a": [1, {{"b": {number}}}]}}'.encode())
    assert caught.value.errors[0].loc == ("a", 1, "b")


def test_an_integer_of_thousands_of_digits():
    with pytest.raises(Malformed, match="thousands of digits"):
        check_json(b"9" * 5000)


@pytest.mark.parametrize("raw", [b"{}", b"[1, 2.5, null]", b"{", b"\xff", b"", b'{"a": 1e308}'])
def test_everything_else_is_left_to_the_model(raw):
    check_json(raw)


def test_a_whole_document_is_read_once_more_and_no_further():
    check_json(json.dumps({"rows": [{"a": n, "b": str(n)} for n in range(1000)]}).encode())
