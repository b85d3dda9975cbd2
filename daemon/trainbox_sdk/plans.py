"""What is wrong with a plan by itself, whatever is registered."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from trainbox_guest.protocol import RESULT_NAME
from trainbox_sdk.assets import filename_problem
from trainbox_sdk.tasks import Output, Plan, StepPlan

STEP_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
OUTPUT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
ENTRY = re.compile(r"(?P<module>[A-Za-z_]\w*(\.[A-Za-z_]\w*)*):[A-Za-z_]\w*")


def plan_problems(plan: Plan) -> list[str]:
    """Return every problem of a plan, one sentence each; empty for a sound one.

    A plan with problems would queue a job that can never end well: steps that wait for each other,
    an entry that is not staged, an output with a folder in its name.
    """
    if not plan.steps:
        return ["it has no steps"]
    problems = [problem for step in plan.steps for problem in _step_problems(step)]
    return [*problems, *_graph_problems(plan)]


def step_order(plan: Plan) -> list[StepPlan]:
    """Return the steps so that each comes after those it needs.

    Raises:
        graphlib.CycleError: steps wait for each other.
    """
    steps = {step.name: step for step in plan.steps}
    order = TopologicalSorter({step.name: step.after for step in plan.steps}).static_order()
    return [steps[name] for name in order]


def _graph_problems(plan: Plan) -> Iterator[str]:
    counts = Counter(step.name for step in plan.steps)
    yield from (f'step "{name}" is there {n} times' for name, n in counts.items() if n > 1)
    for step in plan.steps:
        for name in step.after:
            if name not in counts:
                yield f'step "{step.name}" waits for "{name}", which is no step of this plan'
        # Both lie in the directory of its inputs.
        left = {f"{s.name}.{o.name}" for s in plan.steps if s.name in step.after for o in s.outputs}
        for name in sorted(left & {file.name for file in step.files}):
            yield f'step "{step.name}" is given a file called "{name}", as an earlier output is'
    try:
        TopologicalSorter({step.name: step.after for step in plan.steps}).prepare()
    except CycleError as error:
        yield f"steps wait for each other: {' → '.join(error.args[1])}"


def _step_problems(step: StepPlan) -> Iterator[str]:
    where = f'step "{step.name}"'
    if not STEP_NAME.fullmatch(step.name):
        yield f"{where}: a step name is a lower-case letter, then letters, digits, - and _"
    yield from (f"{where}: {problem}" for problem in _entry_problems(step))
    try:
        json.dumps(dict(step.params), allow_nan=False)
    except (TypeError, ValueError) as error:
        yield f"{where}: its params are not JSON: {error}"
    yield from (f"{where}: {problem}" for problem in _file_problems(step))
    counts = Counter(output.name for output in step.outputs)
    yield from (
        f'{where}: output "{name}" is declared {n} times' for name, n in counts.items() if n > 1
    )
    for output in step.outputs:
        yield from (f'{where}: output "{output.name}": {problem}' for problem in _output(output))


def _file_problems(step: StepPlan) -> Iterator[str]:
    counts = Counter(file.name for file in step.files)
    yield from (f'file "{name}" is given {n} times' for name, n in counts.items() if n > 1)
    for name in counts:
        problem = filename_problem(name)
        if problem:
            yield f"file {name[:80]!r} {problem}"
    for name in step.requirements:
        if name not in counts:
            yield f"requirements {name[:80]!r} are none of its files"


def _entry_problems(step: StepPlan) -> Iterator[str]:
    entry = ENTRY.fullmatch(step.entry)
    if entry is None:
        yield f"entry {step.entry!r} is not package.module:function"
        return
    module = entry["module"]
    if not any(module == package or module.startswith(f"{package}.") for package in step.packages):
        yield f"entry {step.entry!r} lies in none of its packages {', '.join(step.packages)}"


def _output(output: Output) -> Iterator[str]:
    if not OUTPUT_NAME.fullmatch(output.name):
        yield "a file name of letters, digits, ., - and _ is needed, with no folders"
    if output.name == RESULT_NAME:
        yield "this name is the guest's own report"
    if output.max_bytes <= 0:
        yield f"max_bytes is {output.max_bytes}; it must be positive"
