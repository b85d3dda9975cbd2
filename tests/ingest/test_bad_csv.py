"""Bad CSV: one clear error that says where, and nothing left behind."""

import pytest
from trainbox_sdk.errors import TooLarge, ValidationFailed

BAD = {
    "empty": (b"", "empty_file", ("body",), "empty"),
    "blank": (b"\n\r\n\n", "empty_file", ("body",), "blank lines"),
    "header only": (b"a,b\n", "no_rows", ("body",), "not one row"),
    "short record": (
        b"a,b\n1,2\n3\n",
        "malformed_csv",
        ("body", "line 3"),
        "line 3 has 1 field, the header has 2 columns",
    ),
    "long record": (
        b"a,b\n1,2\n3,4,5\n",
        "malformed_csv",
        ("body", "line 3"),
        "line 3 has 3 fields, the header has 2 columns",
    ),
    "short record after a value of three lines": (
        b'a,b\n"x\ny\nz",2\n3\n',
        "malformed_csv",
        ("body", "line 5"),
        "line 5 has 1 field",
    ),
    "latin-1": (
        b"a,b\n1,2\n3,\xe9t\xe9\n",
        "undecodable_text",
        ("body", "line 3"),
        "0xe9 at byte 10",
    ),
    "cut character": (b"a\n1\n\xc3", "undecodable_text", ("body", "line 3"), "middle of a UTF-8"),
    "utf-16": ("a,b\n1,2\n".encode("utf-16"), "wrong_format", ("body",), "UTF-16"),
    "nul": (b"a,b\n1,2\n3,\x00\n", "nul_byte", ("body", "line 3"), "NUL byte, at byte 10"),
    "double header": (
        b"a,b,a\n1,2,3\n",
        "duplicate_columns",
        ("body", "line 1"),
        "'a' more than once",
    ),
    "case twins": (b"Age,age\n1,2\n", "duplicate_columns", ("body", "line 1"), "only in case"),
    "nameless": (b",a\n0,1\n", "empty_column_name", ("body", "line 1"), "column 1 of 2"),
    "control character in name": (
        b'"a\tb",c\n1,2\n',
        "bad_column_name",
        ("body", "line 1"),
        "a\\tb",
    ),
    "long name": (b"n" * 300 + b"\n1\n", "bad_column_name", ("body", "line 1"), "too long"),
    "open quote": (
        b'a,b\n1,2\n3,"x\n4,5\n6,7\n',
        "unterminated_quote",
        ("body", "line 3"),
        "starts on line 3 is never closed",
    ),
    "open quote before much text": (
        b'a,b\n1,2\n3,"' + b"x,y\n" * 100_000,
        "unterminated_quote",
        ("body", "line 3"),
        "starts on line 3 is never closed",
    ),
    "text after quote": (b'a,b\n1,"x"y\n', "malformed_csv", ("body", "line 2"), "closing quote"),
    "lone carriage return": (
        b"a,b\n1,x\ry\n",
        "malformed_csv",
        ("body", "line 2"),
        "carriage return",
    ),
    "gigantic record": (
        b"a,b\n1,2\n3," + b"x" * 200_000 + b"\n",
        "malformed_csv",
        ("body", "line 3"),
        "more than 100,000 bytes",
    ),
    "parquet": (b"PAR1" + b"\0" * 20, "wrong_format", ("body",), "Parquet"),
    "gzip": (b"\x1f\x8b\x08" + b"\0" * 20, "wrong_format", ("body",), "gzip"),
    "excel": (b"PK\x03\x04" + b"\0" * 20, "wrong_format", ("body",), "Excel"),
    "binary": (bytes(range(256)), "nul_byte", ("body", "line 1"), "NUL"),
}


@pytest.mark.parametrize("case", BAD)
async def test_bad_csv_is_refused_with_its_place(upload, tmp, case):
    data, code, loc, words = BAD[case]
    with pytest.raises(ValidationFailed) as caught:
        await upload(data)
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.errors[0].loc == loc
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
    assert [error.loc[1] for error in caught.value.errors] == [f"line {n}" for n in range(2, 22)]


async def test_bad_record_deep_in_a_file_of_many_buffers(upload):
    lines = ['"multi\nline",2\n'] * 90_000
    lines[80_000] = "1,2,3\n"
    with pytest.raises(ValidationFailed) as caught:
        await upload("a,b\n" + "".join(lines))
    assert caught.value.errors[0].loc == ("body", "line 160002")
