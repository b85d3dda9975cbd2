"""Bad CSV: one clear error that says where, and nothing left behind."""

import pytest
from trainbox_sdk.errors import TooLarge, ValidationFailed

BAD = {
    "empty": (b"", "empty_file", ("body",), "empty"),
    "blank": (b"\n\r\n\n", "empty_file", ("body",), "blank lines"),
    "header only": (b"a,b\n", "no_rows", ("body",), "not one row"),
    "short record": (
        b"a,b\n1,2\n3\n",
        "ragged_row",
        ("body", "row 2", "line 3", "column 'b'"),
        "row 2 (line 3), column 'b': 1 field, the header has 2 columns",
    ),
    "long record": (
        b"a,b\n1,2\n3,4,5\n",
        "ragged_row",
        ("body", "row 2", "line 3", "column 'b'"),
        "row 2 (line 3), column 'b': 3 fields, the header has 2 columns",
    ),
    "trailing delimiter": (
        b"a,b\n1,2\n3,4,\n5,6\n",
        "ragged_row",
        ("body", "row 2", "line 3", "column 'b'"),
        "3 fields",
    ),
    "trailing delimiter in the last record": (
        b"a,b\n1,2\n3,4,",
        "ragged_row",
        ("body", "row 2", "line 3", "column 'b'"),
        "3 fields",
    ),
    "trailing delimiter after a quoted value": (
        b'a,b\r\n1,"2"\r\n3,"x,\r\ny",\r\n',
        "ragged_row",
        ("body", "row 2", "line 3", "column 'b'"),
        "3 fields",
    ),
    "two trailing delimiters": (
        b"a,b\n1,,,\n",
        "ragged_row",
        ("body", "row 1", "line 2", "column 'b'"),
        "4 fields",
    ),
    "short record after a value of three lines": (
        b'a,b\n"x\ny\nz",2\n3\n',
        "ragged_row",
        ("body", "row 2", "line 5", "column 'b'"),
        "row 2 (line 5), column 'b': 1 field",
    ),
    "latin-1": (
        b"a,b\n1,2\n3,\xe9t\xe9\n",
        "bad_utf8",
        ("body", "row 2", "line 3", "column 'b'"),
        "0xe9",
    ),
    "cut character": (
        b"a\n1\n\xc3",
        "bad_utf8",
        ("body", "row 2", "line 3", "column 'a'"),
        "not UTF-8",
    ),
    "utf-16 cut off": (
        "a,b\n1,2\n".encode("utf-16")[:-1],
        "bad_utf16",
        ("body", "line 2"),
        "not UTF-16",
    ),
    "nul": (
        b"a,b\n1,2\n3,\x00\n",
        "nul_byte",
        ("body", "row 2", "line 3", "column 'b'"),
        "a NUL byte",
    ),
    "double header": (
        b"a,b,a\n1,2,3\n",
        "duplicate_header",
        ("body", "line 1", "column 'a'"),
        "'a' more than once",
    ),
    "case twins": (
        b"Age,age\n1,2\n",
        "duplicate_header",
        ("body", "line 1", "column 'age'"),
        "only in case",
    ),
    "nameless": (b",a\n0,1\n", "empty_header", ("body", "line 1"), "column 1 of 2"),
    "control character in name": (
        b'"a\tb",c\n1,2\n',
        "bad_header",
        ("body", "line 1", "column 'a\\tb'"),
        "a\\tb",
    ),
    "long name": (
        b"n" * 300 + b"\n1\n",
        "bad_header",
        ("body", "line 1", f"column {'n' * 256!r}"),
        "too long",
    ),
    "open quote": (
        b'a,b\n1,2\n3,"x\n4,5\n6,7\n',
        "unclosed_quote",
        ("body", "row 2", "line 3", "column 'b'"),
        "never closed",
    ),
    "open quote before much text": (
        b'a,b\n1,2\n3,"' + b"x,y\n" * 100_000,
        "unclosed_quote",
        ("body", "row 2", "line 3", "column 'b'"),
        "never closed",
    ),
    "text after quote": (
        b'a,b\n1,"x"y\n',
        "text_after_quote",
        ("body", "row 1", "line 2", "column 'b'"),
        "closing quote",
    ),
    "lone carriage return": (
        b"a,b\n1,x\ry\n",
        "stray_carriage_return",
        ("body", "row 1", "line 2", "column 'b'"),
        "carriage return",
    ),
    "gigantic record": (
        b"a,b\n1,2\n3," + b"x" * 200_000 + b"\n",
        "record_too_large",
        ("body", "row 2", "line 3"),
        "more than 100,000 bytes",
    ),
    "parquet": (b"PAR1" + b"\0" * 20, "wrong_format", ("body",), "Parquet"),
    "gzip that is none": (
        b"\x1f\x8b\x08" + b"\0" * 20,
        "damaged_compression",
        ("body",),
        "gzip",
    ),
    "excel": (b"PK\x03\x04" + b"\0" * 20, "wrong_format", ("body",), "Excel"),
    "binary": (
        bytes(range(256)),
        "nul_byte",
        ("body", "line 1", f"column {bytes(range(9)).decode()!r}"),
        "NUL",
    ),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_csv_is_refused_with_its_place(upload, tmp, case):
    data, code, loc, words = BAD[case]
    with pytest.raises(ValidationFailed) as caught:
        await upload(data)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.errors[0].loc == loc
    assert caught.value.faults[0].rule == code
    assert not list(tmp.iterdir())


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (",".join(f"c{i}" for i in range(301)).encode() + b"\n", "too_many_columns"),
        (b"a\n" + b"1\n" * 100_001, "too_many_rows"),
        (b"a,b\n1," + b"x" * 10_001 + b"\n", "value_too_large"),
        (b"a,b\n1,2\n" * 9_000_000, "too_large"),
    ],
)
async def test_over_a_limit(upload, tmp, data, code):
    with pytest.raises(TooLarge) as caught:
        await upload(data)
    assert caught.value.code == code
    assert not list(tmp.iterdir())


async def test_exactly_at_the_limits(upload):
    assert (await upload(b"a\n" + b"1\n" * 100_000)).rows == 100_000
    header = ",".join(f"c{i}" for i in range(300))
    row = ",".join("1" for _ in range(300))
    assert len((await upload(f"{header}\n{row}\n")).columns) == 300
    assert (await upload("a\n" + "x" * 10_000 + "\n")).rows == 1


async def test_many_bad_records_are_listed_but_not_all(upload):
    with pytest.raises(ValidationFailed) as caught:
        await upload(b"a,b\n" + b"1\n" * 50_000)
    assert [fault.line for fault in caught.value.faults] == list(range(2, 102))
    assert "the first 100 faults" in caught.value.message


async def test_bad_record_deep_in_a_file_of_many_buffers(upload):
    lines = ['"multi\nline",2\n'] * 90_000
    lines[80_000] = "1,2,3\n"
    with pytest.raises(ValidationFailed) as caught:
        await upload("a,b\n" + "".join(lines))
    assert [(fault.row, fault.line) for fault in caught.value.faults] == [(80_001, 160_002)]
