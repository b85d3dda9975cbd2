"""``/v1/models/{ref}/predict`` in every form it takes and gives, through the running daemon."""

from __future__ import annotations

import json

import duckdb
import pytest

from trainbox_sdk.testing.daemon import DaemonProcess

ARROW, PARQUET = "application/vnd.apache.arrow.stream", "application/vnd.apache.parquet"
SCORES = [12.0, -196.0]
ROWS = [{"age": 1, "city": "Paris"}, {"age": -48, "city": "Oslo"}]


def predict(daemon, body, content_type="application/json", accept="", query=""):
    headers = {"Content-Type": content_type} | ({"Accept": accept} if accept else {})
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, given, answer = daemon.request(
        "POST", f"/v1/models/churn:2/predict{query}", data, headers=headers
    )
    return status, given["Content-Type"].partition(";")[0], answer


def scores(answer: bytes):
    return [row["score"] for row in json.loads(answer)["rows"]]


def bodies(tmp_path):
    """Return the same rows in every form."""
    path = tmp_path / "rows.parquet"
    duckdb.sql(
        "COPY (SELECT unnest([1, -48]) AS age, unnest(['Paris', 'Oslo']) AS city)"
        f" TO '{path}' (FORMAT parquet)"
    )
    return {
        "application/json": json.dumps({"columns": {"age": [1, -48], "city": ["Paris", "Oslo"]}}),
        "text/csv": "age,city\n1,Paris\n-48,Oslo\n",
        PARQUET: path.read_bytes(),
    }


def test_columns_csv_and_parquet_in(daemon: DaemonProcess, tmp_path) -> None:
    for content_type, body in bodies(tmp_path).items():
        data = body.encode() if isinstance(body, str) else body
        status, _, answer = predict(daemon, data, content_type)
        assert status == 200, answer
        assert scores(answer) == SCORES


def test_csv_arrow_and_parquet_out_and_in_again(daemon: DaemonProcess) -> None:
    status, given, answer = predict(daemon, {"rows": ROWS}, accept="text/csv")
    assert (status, given) == (200, "text/csv")
    assert answer.decode().splitlines() == ["score,label", "12.0,Paris", "-196.0,Oslo"]
    for form in (ARROW, PARQUET):
        status, given, answer = predict(daemon, {"rows": ROWS}, accept=form)
        assert (status, given) == (200, form)
        # What came out is a table like any other; its columns are not the model's.
        status, _, answer = predict(daemon, answer, form)
        problem = json.loads(answer)
        assert status == 422
        assert [error["loc"] for error in problem["errors"]][:2] == [
            ["rows", 0, "age"],
            ["rows", 0, "city"],
        ]


@pytest.mark.parametrize(
    ("accept", "given"),
    [
        ("text/csv;q=0.5, application/json", "application/json"),
        ("text/csv, application/json;q=0.5", "text/csv"),
        ("text/*", "text/csv"),
        ("*/*", "application/json"),
        ("image/png, */*;q=0.1", "application/json"),
    ],
)
def test_the_answer_a_caller_likes_best(daemon: DaemonProcess, accept: str, given: str) -> None:
    assert predict(daemon, {"rows": ROWS}, accept=accept)[:2] == (200, given)


def test_refusals(daemon: DaemonProcess) -> None:
    assert predict(daemon, {"rows": ROWS}, accept="image/png")[0] == 406
    assert predict(daemon, b"x", "text/html")[0] == 415
    both = {"rows": ROWS, "columns": {"age": [1], "city": ["x"]}}
    for body in ({}, both, {"columns": {"age": [1], "city": []}}, {"columns": {}}):
        assert predict(daemon, body)[0] == 422
    status, _, answer = predict(daemon, b"age,city\n1,x\nold,y\n", "text/csv")
    assert status == 422
    error = json.loads(answer)["errors"][0]
    assert error["loc"] == ["rows", 1, "age"]
    assert error["msg"] == "must be a number, not the string 'old'"


def test_extra_columns(daemon: DaemonProcess) -> None:
    rows = [{**row, "id": 7} for row in ROWS]
    status, _, answer = predict(daemon, {"rows": rows})
    assert status == 422
    assert json.loads(answer)["errors"][0]["loc"] == ["rows", 0, "id"]
    status, _, answer = predict(daemon, {"rows": rows}, query="?ignore_extra=true")
    assert (status, scores(answer)) == (200, SCORES)
