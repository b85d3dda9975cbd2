"""Tables in and out through their confined worker: CSV, Arrow, Parquet."""

import io

import duckdb
import nanoarrow as na
import pytest
from nanoarrow.ipc import StreamWriter
from trainbox.engine.predict_tables import TableWorkers
from trainbox.engine.predict_values import read_signature
from trainbox_sdk.errors import ValidationFailed

INPUTS = read_signature(
    {
        "inputs": [
            {"name": "n", "type": "number", "dtype": "float"},
            {"name": "b", "type": "boolean", "dtype": "float"},
            {"name": "s", "type": "string", "dtype": "string"},
            {"name": "t", "type": "datetime", "dtype": "int64"},
        ]
    }
)
ROWS = [
    {"n": 1.5, "b": True, "s": 'Łódź, "x"', "t": "2024-01-02"},
    {"n": None, "b": None, "s": None, "t": None},
]


@pytest.fixture
def workers(tmp_path):
    return TableWorkers(tmp_path)


async def test_csv(workers):
    data = '\ufeffn,b,s,t\r\n1.5,True,"Łódź, ""x""",2024-01-02\r\n,NA,,null\r\n'.encode()
    assert await workers.read("csv", data, INPUTS, 100) == ROWS


async def test_csv_with_semicolons_and_what_is_no_value_left_as_text(workers):
    data = b"n;b;s;t\n1e3;yes;007;soon\n-0.5;false;a;2024-01-02T03:04:05Z\n"
    assert await workers.read("csv", data, INPUTS, 100) == [
        {"n": 1000.0, "b": "yes", "s": "007", "t": "soon"},
        {"n": -0.5, "b": False, "s": "a", "t": "2024-01-02T03:04:05Z"},
    ]


@pytest.mark.parametrize("form", ["arrow", "parquet"])
async def test_what_is_written_is_read_again(workers, form):
    columns = {
        "n": [1.5, None],
        "b": [True, None],
        "s": ['Łódź, "x"', None],
        "t": ["2024-01-02", None],
    }
    data = await workers.write(form, columns)
    assert await workers.read(form, data, INPUTS, 100) == ROWS


async def test_parquet_of_others(workers, tmp_path):
    path = tmp_path / "theirs.parquet"
    duckdb.sql(
        f"COPY (SELECT 1.5::DECIMAL(9, 2) AS n, true AS b, 'x' AS s, TIMESTAMP '2024-01-02 03:04:05'"
        f" AS t, 'nan'::DOUBLE AS gap) TO '{path}' (FORMAT parquet)"
    )
    rows = await workers.read("parquet", path.read_bytes(), INPUTS, 100)
    assert rows == [{"n": 1.5, "b": True, "s": "x", "t": "2024-01-02T03:04:05", "gap": None}]


async def test_arrow_of_others(workers):
    numbers = na.c_array([1, 2], na.int32())
    whole = na.c_array_from_buffers(na.struct({"n": na.int32()}), 2, [None], children=[numbers])
    out = io.BytesIO()
    with StreamWriter.from_writable(out) as writer:
        writer.write_stream(na.c_array_stream(whole))
    assert await workers.read("arrow", out.getvalue(), INPUTS, 100) == [{"n": 1}, {"n": 2}]


@pytest.mark.parametrize(
    ("form", "data", "says"),
    [
        ("csv", b"n,n\n1,2\n", "the column 'n' is there twice"),
        ("csv", b"n,b\n1\n", "line 2 has 1 fields, the header 2"),
        ("csv", b'n\n"open', "line 2: "),
        ("csv", b"n\n\xff\n", "not UTF-8 text at byte 2"),
        ("csv", b"n\n1\n2\n3\n", "more than 2 rows"),
        ("parquet", b"PAR1 nonsense PAR1", "it cannot be read: "),
        ("parquet", b"", "it cannot be read: "),
        ("arrow", b"ARROW1 nonsense", "Arrow"),
        ("arrow", b"\xff" * 200, "Arrow"),
    ],
)
async def test_what_cannot_be_read_is_refused_in_words(workers, tmp_path, form, data, says):
    with pytest.raises(ValidationFailed) as caught:
        await workers.read(form, data, INPUTS, 2)
    assert caught.value.code == "bad_table"
    assert says in caught.value.message
    assert list(tmp_path.iterdir()) == []


@pytest.mark.hostile
async def test_a_table_cannot_make_its_worker_read_other_files(workers, tmp_path):
    """The file's text never becomes part of a query, and the worker reaches nothing else."""
    secret = tmp_path / "secret.csv"
    secret.write_text("n\n42\n")
    for form in ("parquet", "arrow"):
        with pytest.raises(ValidationFailed) as caught:
            await workers.read(form, str(secret).encode(), INPUTS, 2)
        assert "42" not in caught.value.message
