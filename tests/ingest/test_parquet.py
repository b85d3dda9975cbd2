"""Parquet in: types kept, gaps unified, and everything that is no flat Parquet refused."""

import datetime
import random

import pytest
from trainbox_sdk.errors import TooLarge, ValidationFailed

KEPT = {
    "1::TINYINT": ("number", "TINYINT", 1),
    "2::BIGINT": ("number", "BIGINT", 2),
    "3::UBIGINT": ("number", "UBIGINT", 3),
    "1.5::FLOAT": ("number", "FLOAT", 1.5),
    "2.5::DOUBLE": ("number", "DOUBLE", 2.5),
    "12.34::DECIMAL(9,2)": ("number", "DECIMAL(9,2)", 12.34),
    "true": ("boolean", "BOOLEAN", True),
    "'x'": ("string", "VARCHAR", "x"),
    "'NA'": ("string", "VARCHAR", "NA"),
    "uuid '6f2e0a5c-0000-4000-8000-000000000001'": (
        "string",
        "VARCHAR",
        "6f2e0a5c-0000-4000-8000-000000000001",
    ),
    "DATE '2024-02-29'": ("datetime", "DATE", "2024-02-29"),
    "TIMESTAMP '2024-01-01 10:00:00'": ("datetime", "TIMESTAMP", "2024-01-01T10:00:00Z"),
    "TIMESTAMP_NS '2024-01-01 10:00:00'": ("datetime", "TIMESTAMP", "2024-01-01T10:00:00Z"),
    "TIMESTAMPTZ '2024-01-01 10:00:00+02'": ("datetime", "TIMESTAMP", "2024-01-01T08:00:00Z"),
}


@pytest.mark.parametrize("value", KEPT)
async def test_types_are_kept(upload, parquet, value):
    type_, sql_type, low = KEPT[value]
    data = await upload(parquet(f"SELECT {value} AS v UNION ALL SELECT NULL"), "parquet")
    column = data.columns[0]
    assert (column.type, column.sql_type) == (type_, sql_type)
    assert (column.missing, column.distinct, column.min) == (1, 1, pytest.approx(low))


async def test_nan_and_empty_text_are_gaps(upload, parquet, rows):
    query = "SELECT * FROM (VALUES ('nan'::DOUBLE, ''), (1.0, 'x'), (NULL, NULL)) AS t(d, s)"
    data = await upload(parquet(query), "parquet")
    assert rows(data) == [(None, None), (1.0, "x"), (None, None)]
    assert [column.missing for column in data.columns] == [2, 2]


async def test_names_and_order_are_kept(upload, parquet, rows):
    query = 'SELECT i AS "b ""x""", -i AS "file_row_number", 2 * i AS "c0" FROM range(5000) AS t(i)'
    data = await upload(parquet(query, ROW_GROUP_SIZE=2048), "parquet")
    assert [column.name for column in data.columns] == ['b "x"', "file_row_number", "c0"]
    assert rows(data) == [(i, -i, 2 * i) for i in range(5000)]


async def test_same_data_same_digest_whatever_the_layout(upload, parquet):
    query = "SELECT i AS a, i % 7 AS b, 'v' || i % 11 AS c FROM range(50000) AS t(i)"
    layouts = [
        {"ROW_GROUP_SIZE": 2048},
        {"ROW_GROUP_SIZE": 122880, "COMPRESSION": "snappy"},
    ]
    digests = {(await upload(parquet(query, **each), "parquet")).digest for each in layouts}
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("query", "code", "words"),
    [
        ("SELECT 1 AS ok, [1, 2] AS bad", "nested_value", "the type INTEGER[]"),
        ("SELECT {'a': 1} AS bad", "nested_value", "the type STRUCT"),
        ("SELECT MAP {'a': 1} AS bad", "nested_value", "the type MAP"),
        ("SELECT 'x'::BLOB AS bad", "unsupported_type", "the type BLOB"),
        ("SELECT TIME '10:00' AS bad", "unsupported_type", "the type TIME"),
        ("SELECT INTERVAL 1 DAY AS bad", "unsupported_type", "the type INTERVAL"),
    ],
)
async def test_types_no_task_can_see(upload, parquet, query, code, words):
    with pytest.raises(ValidationFailed) as caught:
        await upload(parquet(query), "parquet")
    assert caught.value.code == code
    assert words in caught.value.message
    assert caught.value.errors[0].loc == ("body", "column 'bad'")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT 1 AS a WHERE false", "no_rows"),
        ("SELECT 'inf'::DOUBLE AS a", "infinite_value"),
        ("SELECT 'infinity'::TIMESTAMP AS a", "infinite_value"),
        ("SELECT 'a' || chr(0) AS a", "nul_byte"),
    ],
)
async def test_values_no_model_takes(upload, parquet, query, code):
    with pytest.raises(ValidationFailed) as caught:
        await upload(parquet(query), "parquet")
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT i AS a FROM range(100001) AS t(i)", "too_many_rows"),
        ("SELECT " + ", ".join(f"1 AS c{i}" for i in range(301)), "too_many_columns"),
        ("SELECT repeat('x', 10001) AS a", "value_too_large"),
    ],
)
async def test_over_a_limit(upload, parquet, query, code):
    with pytest.raises(TooLarge) as caught:
        await upload(parquet(query), "parquet")
    assert caught.value.code == code


async def test_csv_sent_as_parquet(upload):
    with pytest.raises(ValidationFailed) as caught:
        await upload("a,b\n1,2\n", "parquet")
    assert caught.value.code == "wrong_format"
    assert "format=csv" in caught.value.hint


async def test_parquet_sent_as_csv(upload, parquet):
    with pytest.raises(ValidationFailed) as caught:
        await upload(parquet("SELECT 1 AS a"), "csv")
    assert caught.value.code == "wrong_format"
    assert "format=parquet" in caught.value.hint


@pytest.mark.parametrize("keep", [0, 3, 4, 11, 12, 0.1, 0.5, 0.9, -1, -4, -5, -8, -9])
async def test_truncated_parquet(upload, parquet, tmp, keep):
    whole = parquet("SELECT i AS a, 'v' || i AS b FROM range(5000) AS t(i)")
    with pytest.raises(ValidationFailed) as caught:
        await upload(
            whole[: int(keep * len(whole)) if isinstance(keep, float) else keep], "parquet"
        )
    assert caught.value.code in ("unreadable_data", "wrong_format", "empty_file")
    assert not list(tmp.iterdir())


async def test_encrypted_parquet(upload):
    with pytest.raises(ValidationFailed) as caught:
        await upload(b"PARE" + b"\0" * 40 + b"PARE", "parquet")
    assert "encrypted" in caught.value.message


@pytest.mark.hostile
async def test_damaged_parquet_is_read_rightly_or_refused(upload, parquet, tmp):
    """Flip bytes all over a small file: never anything but an answer or one of our errors."""
    whole = bytearray(parquet("SELECT i AS a, 'v' || i AS b FROM range(300) AS t(i)"))
    dice = random.Random(7)
    refused = 0
    for _ in range(25):
        hurt = bytearray(whole)
        for _ in range(3):
            hurt[dice.randrange(4, len(hurt) - 4)] = dice.randrange(256)
        try:
            await upload(bytes(hurt), "parquet")
        except (ValidationFailed, TooLarge):
            refused += 1
    assert refused > 0
    assert not list(tmp.iterdir())


async def test_year_beyond_pythons_calendar(upload, parquet):
    data = await upload(parquet("SELECT TIMESTAMP '12000-01-01 00:00:00' AS t"), "parquet")
    assert data.columns[0].max == "12000-01-01T00:00:00Z"


async def test_date_examples(upload, parquet):
    data = await upload(
        parquet("SELECT DATE '2024-01-01' + i::INT AS d FROM range(9) t(i)"), "parquet"
    )
    assert data.columns[0].examples[:2] == ("2024-01-01", "2024-01-02")
    assert datetime.date.fromisoformat(data.columns[0].max) == datetime.date(2024, 1, 9)
