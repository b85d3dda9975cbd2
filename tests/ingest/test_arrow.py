"""Arrow IPC in. The files under ``files/`` were written by pyarrow 26, in batches of two rows."""

from pathlib import Path

import pytest
from trainbox_sdk.errors import TooLarge, ValidationFailed

FILES = Path(__file__).parent / "files"
WRITTEN = [f"{kind}-{how}.arrow" for kind in ("file", "stream") for how in ("plain", "lz4", "zstd")]


@pytest.mark.parametrize("name", WRITTEN)
async def test_arrow_is_read_as_it_was_written(upload, rows, name):
    data = await upload((FILES / name).read_bytes(), "arrow")
    assert [(column.name, column.type, column.sql_type) for column in data.columns] == [
        ("n", "number", "INTEGER"),
        ("x", "number", "DOUBLE"),
        ("s", "string", "VARCHAR"),
        ("t", "datetime", "TIMESTAMP"),
        ("b", "boolean", "BOOLEAN"),
        ("m", "number", "DECIMAL(9,2)"),
        ("day", "datetime", "DATE"),
        ("big", "string", "VARCHAR"),
    ]
    found = rows(data)
    assert [row[0] for row in found] == [1, None, 3]
    assert [row[1] for row in found] == [0.5, None, None]
    assert [row[2] for row in found] == ["é", None, None]
    assert [row[7] for row in found] == ["xxx", "yy", None]
    assert data.columns[3].min == "2024-01-01T08:00:00Z"


async def test_categories_are_strings(upload, rows):
    data = await upload((FILES / "categories-plain.arrow").read_bytes(), "arrow")
    assert [(column.type, column.sql_type) for column in data.columns] == [("string", "VARCHAR")]
    assert rows(data) == [("u",), ("v",), ("u",)]


@pytest.mark.parametrize("how", ["lz4", "zstd"])
async def test_compressed_categories_are_refused_rather_than_misread(upload, how):
    with pytest.raises(ValidationFailed) as caught:
        await upload((FILES / f"categories-{how}.arrow").read_bytes(), "arrow")
    assert caught.value.code == "unsupported_type"
    assert "categorical" in caught.value.message


async def test_nested_and_binary_columns_are_refused_by_name(upload):
    with pytest.raises(ValidationFailed) as caught:
        await upload((FILES / "nested.arrow").read_bytes(), "arrow")
    found = {(fault.column, fault.rule) for fault in caught.value.faults}
    assert found == {
        ("list", "nested_value"),
        ("struct", "nested_value"),
        ("blob", "unsupported_type"),
    }


@pytest.mark.parametrize("name", ["file-plain.arrow", "stream-zstd.arrow"])
@pytest.mark.parametrize("keep", [0, 5, 9, 100, 0.5, 0.9])
async def test_truncated_arrow(upload, tmp, name, keep):
    whole = (FILES / name).read_bytes()
    cut = int(keep * len(whole)) if isinstance(keep, float) else keep
    with pytest.raises(ValidationFailed) as caught:
        await upload(whole[:cut], "arrow")
    assert caught.value.code in ("unreadable_data", "wrong_format", "empty_file", "no_rows")
    assert not list(tmp.iterdir())


@pytest.mark.hostile
async def test_damaged_arrow_is_read_rightly_or_refused(upload, tmp):
    whole = (FILES / "file-zstd.arrow").read_bytes()
    refused = 0
    for at in range(8, len(whole), 97):
        hurt = bytearray(whole)
        hurt[at] ^= 0xFF
        try:
            await upload(bytes(hurt), "arrow")
        except (ValidationFailed, TooLarge):
            refused += 1
    assert refused > 0
    assert not list(tmp.iterdir())


async def test_csv_sent_as_arrow_and_arrow_as_csv(upload):
    with pytest.raises(ValidationFailed) as caught:
        await upload("a,b\n1,2\n", "arrow")
    assert caught.value.code == "wrong_format"
    with pytest.raises(ValidationFailed) as caught:
        await upload((FILES / "file-plain.arrow").read_bytes(), "csv")
    assert (caught.value.code, "format=arrow" in caught.value.hint) == ("wrong_format", True)


async def test_declared_type_of_a_typed_file(ingest, stream):
    body = (FILES / "file-plain.arrow").read_bytes()
    with pytest.raises(ValidationFailed) as caught:
        await ingest.ingest(stream(body), format="arrow", types={"s": "number", "n": "number"})
    found = [(fault.rule, fault.column) for fault in caught.value.faults]
    assert found == [("wrong_type", "s")]
