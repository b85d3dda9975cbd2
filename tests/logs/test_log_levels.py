"""How grave a line is, by its own words; what says nothing is information."""

from __future__ import annotations


import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainbox_sdk.job_logs import LogLevel
from trainbox_sdk.log_levels import level_of
from trainbox_sdk.log_parsing import parse

D, I, W, E = LogLevel

LINES = [
    # logging.basicConfig, and common formats with the time first
    (W, "WARNING:root:disk almost full"),
    (D, "DEBUG:trainer.loop:step 4"),
    (E, "CRITICAL:root:out of luck"),
    (I, "INFO:root:no ERROR here"),
    (E, "2026-11-21 10:00:00,123 - trainer - ERROR - loss is nan"),
    (E, "2026-11-21 10:00:00,123 [ERROR] trainer: loss is nan"),
    (W, "2026-11-21T10:00:00Z WARN something"),
    (W, "2026-11-21 10:00:00,123 WARNING trainer.loop: late"),
    (I, "2026-11-21 10:00:00,123 INFO trainer.loop: ERROR is a word"),
    (W, "[2026-11-21 10:00:00,123][__main__][WARNING] - hydra says"),
    (E, "[rank0]: [ERROR] nccl"),
    (D, "11/21/2026 10:00:00 - DEBUG - __main__ -   old transformers"),
    (W, "[10:00:00] WARNING  rich says                    train.py:12"),
    (E, "ERROR something broke"),
    (W, "    WARNING  with no time"),
    # loguru, structlog, absl and glog, pairs
    (E, "2026-11-21 10:00:00.123 | ERROR    | __main__:train:10 - no"),
    (I, "2026-11-21 10:00:00.123 | SUCCESS  | __main__:train:10 - yes"),
    (W, "2026-11-21 10:00:00 [warning  ] late                epoch=3"),
    (I, "2026-11-21 10:00:00 [info     ] fine                error=none"),
    (W, "W1121 10:00:00.123456 139 train.py:12] late"),
    (E, "E20261121 10:00:00.123456 139 train.cc:12] no"),
    (E, "F1121 10:00:00.123456 139 train.cc:12] check failed"),
    (I, "I1121 10:00:00.123456 139 train.py:12] error rate 0.1"),
    (E, 'time="2026-11-21T10:00:00Z" level=error msg="no"'),
    (D, "ts=1 level=debug msg=x"),
    # JSON lines
    (E, '{"time": "x", "level": "ERROR", "message": "no"}'),
    (W, '{"severity":"warning","message":"late"}'),
    (E, '{"levelname": "CRITICAL", "msg": "no"}'),
    (W, '{"level":40,"msg":"pino"}'),
    (E, '{"levelno":40,"levelname2":"python"}'),
    (I, '{"level":"info","msg":"the error was nothing"}'),
    (I, '{"metric": "error", "value": 0.1}'),
    # warnings.warn, exceptions, faults, compilers, and our own notices
    (W, "/x/train.py:12: UserWarning: this is late"),
    (W, "/x/train.py:12: sklearn.exceptions.ConvergenceWarning: more"),
    (E, "ValueError: no such column"),
    (E, "torch.cuda.OutOfMemoryError: CUDA out of memory"),
    (E, "Fatal Python error: Segmentation fault"),
    (E, "error: no such file"),
    (E, "Traceback (most recent call last):"),
    (W, "[trainbox: 12 bytes of output left out here]"),
    # what only sounds so
    (I, "epoch 1: no ERROR was found"),
    (I, "0 errors, 3 warnings"),
    (I, "error: 0.0312"),
    (I, "Error: 1.2e-3, accuracy: 0.9"),
    (I, "train error 0.1"),
    (I, "ValueErrors are our friends"),
    (I, "10%|#   | 1/10 [00:01<00:09, err=0.1]"),
    (I, "the debugger"),
    (I, ""),
]


@pytest.mark.parametrize(("level", "line"), LINES, ids=[str(n) for n in range(len(LINES))])
def test_level_of_a_line(level: LogLevel, line: str) -> None:
    assert level_of(line) is level
    found = parse(b"before\n" + line.encode() + b"\nafter\n")
    expected = [I.rank, level.rank, I.rank]
    if "Traceback" in line:
        expected = [I.rank, E.rank, E.rank]  # what follows is the exception
    assert list(found.ranks) == expected, "found among others, too"


def levels(text: str) -> str:
    return "".join("dIWE"[rank] for rank in parse(text.encode()).ranks)


def test_traceback_is_an_error_to_its_last_line() -> None:
    assert (
        levels(
            "before\n"
            "Traceback (most recent call last):\n"
            '  File "x.py", line 1, in <module>\n'
            "    debug(warn)\n"
            "    ^^^^^^^^^^^\n"
            "KeyError: 'x'\n"
            "after\n"
        )
        == "IEEEEEI"
    )


def test_chain_of_tracebacks_is_one_error() -> None:
    one = 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError\n'
    sentence = "\nDuring handling of the above exception, another exception occurred:\n\n"
    assert levels(one + sentence + one + "after\n") == "E" * 9 + "I"


def test_very_long_chain_ends() -> None:
    one = 'Traceback (most recent call last):\n  File "x.py", line 1\nKeyError\n'
    sentence = "\nThe above exception was the direct cause of the following exception:\n\n"
    assert set(levels((one + sentence) * 5000)) <= {"E", "I"}


def test_traceback_at_the_very_end_is_one() -> None:
    assert levels("Traceback (most recent call last):\n  File") == "EE"
    assert levels("Traceback (most recent call last):") == "E"


def test_source_line_of_a_warning_belongs_to_it() -> None:
    text = "/x/a.py:1: UserWarning: late\n  warnings.warn('ERROR: x')\nafter\n"
    assert levels(text) == "WWI"


@given(st.lists(st.text(alphabet='\n \t[]|:-="{}0123456789WEFDerorwanigbuTcbk', max_size=60)))
def test_any_text_has_one_level_a_line(lines: list[str]) -> None:
    data = "\n".join(lines).encode()
    assert len(parse(data).ranks) == data.count(b"\n") + (not data.endswith(b"\n") and data != b"")


@pytest.mark.parametrize(
    "line",
    ["[" * 250 + " warn", "1:" * 125 + "warn", "a." * 125 + "Error", "2026-1- " * 32 + "err"],
    ids=["brackets", "stamps", "dots", "fields"],
)
def test_hostile_lines_take_no_longer_than_others(line: str) -> None:
    """Backtracking that explodes would take years here; the suite's own limit of time tells."""
    assert len(parse((line + "\n").encode() * 2000).ranks) == 2000
