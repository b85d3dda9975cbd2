"""Fifty faults of twelve kinds planted in one file: each comes back with its row, line and column."""

import random

import pytest
from trainbox_sdk.errors import ValidationFailed

NAMES = ["id", "amount", "active", "seen", "note"]
TYPES = {"amount": "number", "active": "boolean", "seen": "datetime", "note": "string"}
GOOD = b'%d,1.5,true,2024-01-31,"plain, quoted"\n'
TWO_LINES = b'%d,2.5,false,2024-02-29T10:00:00,"two\nlines"\n'


def planted(row: int, kind: str) -> tuple[bytes, str | None]:
    """Return a bad record and the column in which it is bad."""
    start = b"%d," % row
    return {
        "ragged_row short": (start + b"1.5,true\n", "seen"),
        "ragged_row long": (start + b"1.5,true,2024-01-31,x,surplus\n", "note"),
        "ragged_row trailing": (start + b"1.5,true,2024-01-31,x,\n", "note"),
        "bad_utf8": (start + b"1.5,true,2024-01-31,caf\xe9\n", "note"),
        "nul_byte": (start + b"1.5,true,2024-01-31,a\x00b\n", "note"),
        "unclosed_quote": (start + b'1.5,true,2024-01-31,"open\n', "note"),
        "text_after_quote": (start + b'1.5,true,2024-01-31,"shut"tail\n', "note"),
        "stray_carriage_return": (start + b"1.5,true,2024-01-31,a\rb\n", "note"),
        "value_too_large": (start + b"1.5,true,2024-01-31," + b"x" * 10_001 + b"\n", "note"),
        "not_a_number": (start + b"1.5 EUR,true,2024-01-31,x\n", "amount"),
        "leading_zero": (start + b"007,true,2024-01-31,x\n", "amount"),
        "number_out_of_range": (start + b"-1e999,true,2024-01-31,x\n", "amount"),
        "not_a_boolean": (start + b"1.5,maybe,2024-01-31,x\n", "active"),
        "not_a_datetime": (start + b"1.5,true,2024-02-30,x\n", "seen"),
    }[kind]


KINDS = [
    "ragged_row short",
    "ragged_row long",
    "ragged_row trailing",
    "bad_utf8",
    "nul_byte",
    "unclosed_quote",
    "text_after_quote",
    "stray_carriage_return",
    "value_too_large",
    "not_a_number",
    "leading_zero",
    "number_out_of_range",
    "not_a_boolean",
    "not_a_datetime",
]


async def test_every_planted_fault_is_named(ingest, stream, tmp):
    dice = random.Random(50)
    kinds = [KINDS[index % len(KINDS)] for index in range(50)]
    dice.shuffle(kinds)
    at = dict(zip(sorted(dice.sample(range(1, 5000), 50)), kinds, strict=True))
    body, wanted, line = [",".join(NAMES).encode() + b"\n"], [], 2
    for row in range(1, 5001):
        record, column = (TWO_LINES if row % 7 == 0 else GOOD) % row, None
        if row in at:
            record, column = planted(row, at[row])
            wanted.append((at[row].partition(" ")[0], row, line, column))
        body.append(record)
        line += record.count(b"\n")
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(stream(b"".join(body)), format="csv", filename="sales.csv", types=TYPES)
    found = caught.value.faults
    assert [(fault.rule, fault.row, fault.line, fault.column) for fault in found] == wanted
    assert len(found) == 50
    assert len({fault.rule for fault in found}) == 12
    assert {fault.file for fault in found} == {"sales.csv"}
    assert all(fault.message and fault.hint and fault.value is not None for fault in found)
    assert all(len(fault.value) < 130 and fault.value.isprintable() for fault in found)
    assert caught.value.code == "faulty_data"
    assert caught.value.message.startswith("sales.csv: row ")
    assert not list(tmp.iterdir())


@pytest.mark.parametrize("kind", KINDS)
async def test_each_kind_alone_is_found_by_the_fast_reader_too(ingest, stream, kind):
    """Where nothing else is wrong, the fault itself must make the slow look happen."""
    record, column = planted(2, kind)
    body = b",".join(map(str.encode, NAMES)) + b"\n" + GOOD % 1 + record + GOOD % 3
    with pytest.raises(Exception) as caught:
        await ingest.ingest(stream(body), format="csv", types=TYPES)
    first = caught.value.faults[0]
    assert (first.rule, first.row, first.line, first.column) == (
        kind.partition(" ")[0],
        2,
        3,
        column,
    )
    assert caught.value.code == first.rule


async def test_header_and_rows_are_both_looked_at(ingest, stream):
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(stream(b"a,a,\n1,2,3\n4,5\n6,\xff,7\n"), format="csv")
    found = [(fault.rule, fault.row, fault.line) for fault in caught.value.faults]
    assert found == [
        ("duplicate_header", None, 1),
        ("empty_header", None, 1),
        ("ragged_row", 2, 3),
        ("bad_utf8", 3, 4),
    ]


async def test_declared_types_are_kept(ingest, stream, rows):
    body = b"zip,n,when,flag\n01234,1,2024-01-01,TRUE\n00001,2.5,2024-01-01 10:00,\n"
    types = {"zip": "string", "n": "number", "when": "datetime", "flag": "boolean"}
    data = await ingest.ingest(stream(body), format="csv", types=types)
    assert [column.type for column in data.columns] == ["string", "number", "datetime", "boolean"]
    assert rows(data)[0][:2] == ("01234", 1.0)


async def test_declared_column_without_values_has_its_type(ingest, stream):
    data = await ingest.ingest(stream(b"a,b\n1,\n2,NA\n"), format="csv", types={"b": "number"})
    assert (data.columns[1].type, data.columns[1].missing) == ("number", 2)


async def test_declared_column_that_is_not_there(ingest, stream):
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(stream(b"a\n1\n"), format="csv", types={"b": "number"})
    assert (caught.value.code, caught.value.faults[0].column) == ("unknown_column", "b")


async def test_mixed_column_under_a_declared_type_names_each_value(ingest, stream):
    values = [b"n.a." if row in (3, 700) else b"%d" % row for row in range(1, 1001)]
    body = b"x,y\n" + b"".join(value + b",1\n" for value in values)
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(stream(body), format="csv", types={"x": "number"})
    found = [(fault.row, fault.line, fault.column, fault.value) for fault in caught.value.faults]
    assert found == [(3, 4, "x", "'n.a.'"), (700, 701, "x", "'n.a.'")]


async def test_decimal_comma_under_a_declared_type(ingest, stream, rows):
    body = b"x;y\n1.234,5;a\n7;b\n"
    data = await ingest.ingest(stream(body), format="csv", types={"x": "number"})
    assert [x for x, _ in rows(data)] == [1234.5, 7.0]
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(stream(body + b"1,2,3;c\n"), format="csv", types={"x": "number"})
    assert (caught.value.faults[0].row, caught.value.faults[0].rule) == (3, "not_a_number")


@pytest.mark.hostile
async def test_nothing_but_quotes_ends_soon(ingest, stream):
    """Every line opens a quote that the next one seems to close."""
    body = b"a,b\n" + b'1,"x\n' * 200_000
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(stream(body), format="csv")
    assert len(caught.value.faults) == 100
    assert {fault.rule for fault in caught.value.faults} == {"unclosed_quote"}
