"""Log lines: one JSON object each, with their request, without anybody's secret."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import pytest

from trainbox import logs


def line(formatter: logs.JsonFormatter, message: str = "x", level=logging.INFO, **extra) -> str:
    record = logging.LogRecord("trainbox.test", level, "", 0, message, (), None)
    record.__dict__.update(extra)
    return formatter.format(record)


@pytest.fixture(autouse=True)
def unbound():
    logs.unbind()
    yield
    logs.unbind()


def test_a_line_is_one_object_with_its_fields() -> None:
    text = line(logs.JsonFormatter(), "two\nlines", job_state="running")
    assert "\n" not in text
    fields = json.loads(text)
    assert fields.pop("at").endswith("+00:00")
    assert fields == {
        "level": "info",
        "logger": "trainbox.test",
        "event": "two\nlines",
        "job_state": "running",
    }


@pytest.mark.parametrize(
    ("level", "start"),
    [(logging.CRITICAL, "<2>{"), (logging.ERROR, "<3>{"), (logging.WARNING, "<4>{"),
     (logging.INFO, "<6>{"), (logging.DEBUG, "<7>{")],
    ids=lambda value: str(value),
)  # fmt: skip
def test_the_journal_gets_priorities(level: int, start: str) -> None:
    assert line(logs.JsonFormatter(priorities=True), level=level).startswith(start)


def test_stderr_that_is_no_journal_gets_none(monkeypatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "1:2")
    assert not logs.goes_to_journal()
    seen = sys.__stderr__.fileno()
    import os

    stat = os.fstat(seen)
    monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{stat.st_ino}")
    monkeypatch.setattr(sys, "stderr", sys.__stderr__)
    assert logs.goes_to_journal()


async def test_what_is_bound_belongs_to_its_task_alone() -> None:
    async def work(name: str) -> str:
        logs.bind(request_id=name)
        await asyncio.sleep(0)
        return line(logs.JsonFormatter())

    one, two = await asyncio.gather(work("one"), work("two"))
    assert (json.loads(one)["request_id"], json.loads(two)["request_id"]) == ("one", "two")
    assert "request_id" not in json.loads(line(logs.JsonFormatter()))


def test_an_empty_value_unbinds() -> None:
    logs.bind(request_id="r", job_id="j")
    logs.bind(request_id="")
    fields = json.loads(line(logs.JsonFormatter()))
    assert fields["job_id"] == "j" and "request_id" not in fields


@pytest.mark.parametrize(
    "extra",
    [
        {"secret": "canary-1"},
        {"detail": {"Authorization": "Bearer canary-1"}},
        {"headers": [{"api_key": "canary-1"}]},
        {"why": "sent Bearer canary-1-and-more-of-it"},
        {"why": "token tb_06gabc_canary1canary1canary1canary1"},
        {"key": "whsec_canary1canary1canary1"},
        {"password": "canary-1"},
    ],
    ids=["name", "nested", "in-list", "bearer", "ours", "webhook", "password"],
)
def test_secrets_do_not_reach_the_log(extra: dict) -> None:
    text = line(logs.JsonFormatter(), **extra)
    assert "canary" not in text and logs.HIDDEN in text
    json.loads(text)


def test_a_secret_in_the_message_or_a_traceback_is_cut_too() -> None:
    secret = "tb_06gabc_" + "canary" * 5
    assert "canary" not in line(logs.JsonFormatter(), f"got {secret}")
    try:
        raise ValueError(secret)
    except ValueError:
        record = logging.LogRecord("t", logging.ERROR, "", 0, "broke", (), sys.exc_info())
    text = logs.JsonFormatter().format(record)
    assert "canary" not in text and "ValueError" in text


def test_a_tokens_id_stays_readable() -> None:
    text = line(logs.JsonFormatter(), token="tok_06gabc", why="tb_06gabc_" + "f" * 64)
    assert "tok_06gabc" in text and "tb_06gabc_[hidden]" in text
