"""The transition table: closed, equal to its drawing, and what a job's state follows from."""

import itertools
import re
from pathlib import Path

import pytest

from trainbox import states
from trainbox_sdk.jobs import TERMINAL, State

PAGE = Path(__file__).parents[2] / "docs" / "states.md"
EDGE = re.compile(r"^ *(\S+) --> (\S+)$", re.MULTILINE)


def drawn_edges() -> set[tuple[str, str]]:
    diagram = re.search(r"```mermaid\nstateDiagram-v2\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert diagram
    return set(EDGE.findall(diagram[1]))


def test_the_drawing_is_the_table():
    table = {
        (str(before), str(after)) for before, all_ in states.TRANSITIONS.items() for after in all_
    }
    ends = {("[*]", "queued")} | {(str(state), "[*]") for state in TERMINAL}
    assert drawn_edges() == table | ends


def test_every_state_has_its_sentence():
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+?) \| ([^|]+?) \|$", PAGE.read_text(), re.MULTILINE)
    assert [row[0] for row in rows] == [str(state) for state in State]
    assert all(sentence.endswith(".") and len(sentence) > 20 for _, sentence, _ in rows)


def test_every_state_has_a_row_and_terminal_ones_never_move():
    assert set(states.TRANSITIONS) == set(State)
    assert {state for state, after in states.TRANSITIONS.items() if not after} == TERMINAL


def test_every_state_can_be_reached_and_left_for_an_end():
    reached, border = {State.QUEUED}, {State.QUEUED}
    while border:
        border = set().union(*(states.TRANSITIONS[state] for state in border)) - reached
        reached |= border
    assert reached == set(State)
    for state in set(State) - TERMINAL:
        assert State.FAILED in states.TRANSITIONS[state]
        assert State.CANCELLED in states.TRANSITIONS[state]


@pytest.mark.parametrize(("before", "after"), list(itertools.product(State, State)))
def test_require_follows_the_table(before, after):
    if after in states.TRANSITIONS[before]:
        states.require(before, after)
    else:
        with pytest.raises(states.IllegalTransition, match=f"from {before} to {after}"):
            states.require(before, after)


@pytest.mark.parametrize(
    ("steps", "job"),
    [
        ([State.QUEUED, State.QUEUED], State.QUEUED),
        ([State.SUCCEEDED, State.QUEUED], State.QUEUED),
        ([State.SUCCEEDED, State.SUCCEEDED], State.SUCCEEDED),
        ([State.SUCCEEDED, State.PREPARING], State.PREPARING),
        ([State.RUNNING, State.COLLECTING, State.QUEUED], State.COLLECTING),
        ([State.FAILED, State.RUNNING], State.RUNNING),
        ([State.FAILED, State.CANCELLED, State.INTERRUPTED], State.FAILED),
        ([State.CANCELLED, State.INTERRUPTED, State.SUCCEEDED], State.CANCELLED),
        ([State.INTERRUPTED, State.SUCCEEDED], State.INTERRUPTED),
    ],
)
def test_a_job_follows_its_steps(steps, job):
    assert states.job_state(steps) is job
