"""What a CSV column becomes: type, gaps, profile, warnings."""

import datetime

import pytest


def one(data):
    assert len(data.columns) == 1
    return data.columns[0]


@pytest.mark.parametrize(
    ("values", "type_", "sql_type"),
    [
        (["1", "-2", "+3", "0"], "number", "BIGINT"),
        (["9223372036854775807"], "number", "BIGINT"),
        (["1", "2.5"], "number", "DOUBLE"),
        (["1e3", ".5", "5.", "-1.5E-7"], "number", "DOUBLE"),
        (["99999999999999999999", "0.5"], "number", "DOUBLE"),
        (["true", "FALSE", "True"], "boolean", "BOOLEAN"),
        (["2024-02-29", "1899-01-01"], "datetime", "DATE"),
        (["2024-02-29", "2024-02-29T10:00"], "datetime", "TIMESTAMP"),
        (["2024-02-29 10:00:00.123456"], "datetime", "TIMESTAMP"),
        (["2024-02-29T10:00:00Z", "2024-02-29T10:00:00 +0130"], "datetime", "TIMESTAMP"),
        (["007", "008"], "string", "VARCHAR"),
        (["-01"], "string", "VARCHAR"),
        (["1_000"], "string", "VARCHAR"),
        (["0x10"], "string", "VARCHAR"),
        (["1e400", "1"], "string", "VARCHAR"),
        (["inf", "1"], "string", "VARCHAR"),
        (["99999999999999999999", "1"], "string", "VARCHAR"),
        (["0", "1", "true"], "string", "VARCHAR"),
        (["2024-02-30", "2024-02-01"], "string", "VARCHAR"),
        (["2024-1-1"], "string", "VARCHAR"),
        (["12024-01-01"], "string", "VARCHAR"),
        (["epoch", "infinity"], "string", "VARCHAR"),
        (["31.12.2024"], "string", "VARCHAR"),
        (["a", "b"], "string", "VARCHAR"),
    ],
)
async def test_type_is_decided_by_every_value(upload, values, type_, sql_type):
    column = one(await upload("x\n" + "\n".join(values) + "\n"))
    assert (column.type, column.sql_type) == (type_, sql_type)
    assert column.missing == 0


@pytest.mark.parametrize("gap", ["", "NA", "N/A", "NaN", "nan", "null", "NULL", '" NA "', "  "])
@pytest.mark.parametrize("value", ["1", "true", "2024-01-01", "text"])
async def test_gaps_are_missing_in_every_type(upload, rows, gap, value):
    data = await upload(f"x,y\n{value},1\n{gap},2\n")
    assert data.columns[0].missing == 1
    assert data.columns[0].type != "string" or value == "text"
    assert rows(data)[1][0] is None


async def test_words_that_only_look_like_gaps_stay(upload, rows):
    data = await upload("x\nNone\nna\nNANA\n-\n?\n")
    assert [value for (value,) in rows(data)] == ["None", "na", "NANA", "-", "?"]


async def test_offsets_become_utc(upload, rows):
    data = await upload(
        "t\n2024-01-01T00:00:00+02:00\n2024-01-01 00:00:00 -0130\n2024-01-01T00:00:00Z\n2024-01-01\n"
    )
    assert [value for (value,) in rows(data)] == [
        datetime.datetime(2023, 12, 31, 22),
        datetime.datetime(2024, 1, 1, 1, 30),
        datetime.datetime(2024, 1, 1),
        datetime.datetime(2024, 1, 1),
    ]
    assert one(data).min == "2023-12-31T22:00:00Z"
    assert data.warnings == ("column 't': 1 value without UTC offset, read as UTC",)


async def test_a_few_bad_values_make_text_and_a_warning_that_names_them(upload):
    lines = [str(number) for number in range(3000)]
    lines[17], lines[2900] = "oops", "n.a."
    data = await upload("x\n" + "\n".join(lines) + "\n")
    assert one(data).type == "string"
    assert data.warnings == (
        "column 'x' is text because of 2 values of 3,000 that are no number"
        " (row 18: 'oops', row 2901: 'n.a.')",
    )


async def test_late_fraction_after_many_integers_makes_double(upload, rows):
    data = await upload("x\n" + "1\n" * 5000 + "2.5\n")
    assert one(data).sql_type == "DOUBLE"
    assert rows(data)[-1] == (2.5,)


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
async def test_delimiter_is_found(upload, rows, delimiter):
    data = await upload(delimiter.join("ab") + "\n" + delimiter.join(["1", "x y"]) + "\n")
    assert [column.name for column in data.columns] == ["a", "b"]
    assert rows(data) == [(1, "x y")]


async def test_decimal_comma_where_the_delimiter_is_no_comma(upload, rows):
    data = await upload("a;b\n1,5;1,234\n-2,25;2,345\n")
    assert rows(data) == [(1.5, "1,234"), (-2.25, "2,345")]
    assert "decimal comma" in data.warnings[0]
    assert "1,234 may be 1234 or 1.234" in data.warnings[1]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
async def test_line_ends_quotes_and_bom(upload, rows, ends):
    text = ends.join(['\ufeff"na""me",b', '"x' + ends + 'y",1', '"a, ""b""",2', ""])
    data = await upload(text)
    assert [column.name for column in data.columns] == ['na"me', "b"]
    assert rows(data) == [(f"x{ends}y", 1), ('a, "b"', 2)]


async def test_mixed_line_ends(upload, rows):
    assert rows(await upload("a,b\r\n1,2\n3,4\r\n5,6")) == [(1, 2), (3, 4), (5, 6)]


async def test_column_without_values(upload):
    data = await upload("a,b\n1,\n2,NA\n")
    column = data.columns[1]
    assert (column.type, column.missing, column.min, column.max, column.examples) == (
        "string",
        2,
        None,
        None,
        (),
    )
    assert data.warnings == ("column 'b' has no values",)


async def test_names_are_kept_as_they_are(upload):
    data = await upload('Größe (m²),a.b,"select ""x"", drop",日付, e \n1,2,3,4,5\n')
    names = [column.name for column in data.columns]
    assert names == ["Größe (m²)", "a.b", 'select "x", drop', "日付", "e"]


async def test_profile(upload):
    text = "n,s,b\n" + "".join(
        f"{i % 7},{'v' * (i % 3 + 1)},{'true' if i % 2 else ''}\n" for i in range(50)
    )
    number, string, boolean = (await upload(text)).columns
    assert (number.min, number.max, number.distinct, number.distinct_exact) == (0, 6, 7, True)
    assert number.examples == (0, 1, 2, 3, 4)
    assert (string.min, string.max, string.distinct) == ("v", "vvv", 3)
    assert (boolean.missing, boolean.distinct, boolean.min, boolean.max) == (25, 1, True, True)


async def test_long_texts_are_cut_in_the_profile_only(upload, rows):
    data = await upload("s\n" + "x" * 5000 + "\n")
    assert one(data).max == "x" * 200 + "…"
    assert rows(data) == [("x" * 5000,)]
