"""The table of reasons: the page says what the code says, and every code the daemon gives is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trainbox.engine.comparison import better
from trainbox.engine.evidence import last_lines
from trainbox.engine.explaining import MAKERS
from trainbox.engine.reasons import REASONS, SENTENCES, UNLISTED, Advice, reason_for
from trainbox_sdk.jobs import State

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "jobs.md").read_text()
ROW = re.compile(r"^\| `([a-zN_]+)` \| (\w+) \| (.+) \|$", re.MULTILINE)
GIVEN = re.compile(
    r"(?:Wait\(\s*step,|StepEnds\(|OutputRefused\(|Verdict\(\s*State\.\w+,|_failed\()\s*\"([a-z_]+)\""
)


def test_the_page_has_the_table():
    told = {code: (kind, meaning) for code, kind, meaning in ROW.findall(PAGE)}
    assert told == {code: (reason.kind, reason.meaning) for code, reason in REASONS.items()}


def test_every_code_of_the_engine_is_listed():
    code = "".join(p.read_text() for p in (ROOT / "daemon/trainbox/engine").rglob("*.py"))
    given = set(GIVEN.findall(code))
    assert len(given) > 8, given
    assert given <= set(REASONS)


def test_every_advice_is_a_sentence_and_used():
    assert set(SENTENCES) == set(Advice)
    assert {advice for reason in REASONS.values() for advice in reason.advice} == set(Advice)
    assert set(MAKERS) == set(Advice) - {Advice.TELL_AUTHOR}


def test_codes_of_guests_are_the_codes_matter():
    assert reason_for(State.FAILED, "bad_weight") is UNLISTED
    assert reason_for(State.FAILED, "exit_137") is REASONS["exit_N"]
    assert reason_for(State.SUCCEEDED, "").kind == ""
    assert reason_for(State.QUEUED, "").kind == "waiting"


@pytest.mark.parametrize(
    ("name", "direction"),
    [("rmse", "lower"), ("valid_logloss", "lower"), ("f1_macro", "higher"), ("roc_auc", "higher"),
     ("r2", "higher"), ("trees", ""), ("map_error", ""), ("scores", "")],
)  # fmt: skip
def test_what_is_better(name, direction):
    assert better(name) == direction


def test_the_last_lines_of_a_log(tmp_path):
    log = tmp_path / "x.log"
    assert last_lines(log) == ()
    log.write_bytes(b"a\n" * 100_000 + b"\xff\x1b[1mend\x1b[0m\x07 " + b"z" * 1000)
    lines = last_lines(log)
    assert len(lines) == 20 and lines[0] == "a"
    assert lines[-1].startswith("\ufffdend ") and len(lines[-1]) == 500
