"""JSON lines in: flat objects, JSON's own types, and every line that is none named."""

import json

import pytest
from trainbox_sdk.errors import TooLarge, ValidationFailed


def lines(*objects: object) -> str:
    return "".join(json.dumps(each) + "\n" for each in objects)


async def test_keys_in_any_order_and_not_in_every_line(upload, rows):
    data = await upload(lines({"a": 1, "b": "x"}, {"b": "y", "c": True}, {"a": None}), "jsonl")
    assert [(column.name, column.type) for column in data.columns] == [
        ("a", "number"),
        ("b", "string"),
        ("c", "boolean"),
    ]
    assert rows(data) == [(1, "x", None), (None, "y", True), (None, None, None)]


async def test_values_keep_jsons_types(upload, rows):
    first = {"zip": "01234", "text": "12", "big": 2**70, "na": "NA", "day": "2024-01-31"}
    tricky = {"zip": "0", "text": 'a "b",\nc', "big": 1, "na": " ", "day": "2024-02-29"}
    data = await upload(lines(first, tricky, {"text": ""}), "jsonl")
    assert {column.name: column.sql_type for column in data.columns} == {
        "zip": "VARCHAR",
        "text": "VARCHAR",
        "big": "VARCHAR",
        "na": "VARCHAR",
        "day": "DATE",
    }
    found = rows(data)
    assert [row[:4] for row in found] == [
        ("01234", "12", str(2**70), "NA"),
        ("0", 'a "b",\nc', "1", " "),
        (None, None, None, None),
    ]


async def test_numbers(upload, rows):
    data = await upload('{"x": 1}\n{"x": 2.5}\n\n  \n{"x": -1E-3}\r\n', "jsonl")
    assert [x for (x,) in rows(data)] == [1.0, 2.5, -0.001]


async def test_one_key_and_a_line_without_it(upload, rows):
    assert rows(await upload('{"a": "x"}\n{}\n{"a": ""}\n{"a": "z"}\n', "jsonl")) == [
        ("x",),
        (None,),
        (None,),
        ("z",),
    ]


async def test_several_kinds_make_text_and_a_warning(upload, rows):
    data = await upload(lines({"a": 1}, {"a": "x"}, {"a": True}), "jsonl")
    assert [a for (a,) in rows(data)] == ["1", "x", "true"]
    assert "a number first in row 1, a string first in row 2" in data.warnings[0]
    assert [warning.rule for warning in data.profile.warnings][:1] == ["mixed_types"]


async def test_every_faulty_line_is_named(ingest, stream):
    body = (
        b'{"a": 1, "b": 1}\n'
        b"\n"
        b'{"a": 1,}\n'
        b"[1, 2]\n"
        b"7\n"
        b'{"a": {"b": 1}}\n'
        b'{"a": [1], "b": 2}\n'
        b'{"a": 1, "a": 2}\n'
        b'{"a": NaN}\n'
        b'{"a": 1e999}\n'
        b'{"b": "caf\xe9"}\n'
        b'{"b": "\\ud800"}\n'
        b'{"b": "a\\u0000b"}\n'
        b'{"a": 1} {"a": 2}\n'
        b'{"a": 3}\n'
    )
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(stream(body), format="jsonl", filename="x.jsonl")
    found = [(each.rule, each.row, each.line, each.column) for each in caught.value.faults]
    assert found == [
        ("bad_json", 2, 3, None),
        ("not_an_object", 3, 4, None),
        ("not_an_object", 4, 5, None),
        ("nested_value", 5, 6, "a"),
        ("nested_value", 6, 7, "a"),
        ("duplicate_key", 7, 8, "a"),
        ("bad_json", 8, 9, None),
        ("number_out_of_range", 9, 10, "a"),
        ("bad_utf8", 10, 11, None),
        ("bad_utf8", 11, 12, "b"),
        ("nul_byte", 12, 13, "b"),
        ("bad_json", 13, 14, None),
    ]


async def test_declared_types(ingest, stream):
    body = lines({"n": 1, "d": "2024-01-01"}, {"n": "2", "d": "soon"}, {"n": None, "d": 5})
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(
            stream(body.encode()), format="jsonl", types={"n": "number", "d": "datetime"}
        )
    found = [(each.rule, each.row, each.column) for each in caught.value.faults]
    assert found == [
        ("not_a_number", 2, "n"),
        ("not_a_datetime", 2, "d"),
        ("not_a_datetime", 3, "d"),
    ]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "empty_file"),
        (b"\n\n", "empty_file"),
        (b"{}\n", "no_columns"),
        (b'{"": 1}\n', "empty_header"),
        (b'{"A": 1, "a": 2}\n', "duplicate_header"),
        (b"[" * 100_001, "record_too_large"),
        (b"[" * 50_000 + b"\n", "nested_value"),
        (b"[" + b'{"a": 1},\n' * 20_000, "bad_json"),
        (b"PAR1xxxx", "wrong_format"),
        (b"a,b\n1,2\n", "bad_json"),
    ],
)
async def test_no_json_lines(upload, tmp, body, code):
    with pytest.raises(ValidationFailed) as caught:
        await upload(body, "jsonl")
    assert caught.value.code == code
    assert not list(tmp.iterdir())


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (lines({f"c{i}": 1 for i in range(301)}), "too_many_columns"),
        (lines(*({f"c{i}": 1} for i in range(301))), "too_many_columns"),
        ('{"a": 1}\n' * 100_001, "too_many_rows"),
        (lines({"a": "x" * 10_001}), "value_too_large"),
    ],
)
async def test_over_a_limit(upload, body, code):
    with pytest.raises(TooLarge) as caught:
        await upload(body, "jsonl")
    assert caught.value.code == code
