"""The conformance suite itself: each promise, broken on purpose, must be caught."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.errors import FieldError
from trainbox_sdk.plans import plan_problems, step_order
from trainbox_sdk.tasks import Output, Plan, StepPlan, TaskType
from trainbox_sdk.testing.example_data import write_example
from trainbox_sdk.testing.guest_runs import GuestRun, GuestRunner
from trainbox_sdk.testing.purity import outside_calls
from trainbox_sdk.testing.task import Example, TaskContract, check_run

GOOD_GUEST = """
def main(run):
    if not run.dataset_path.read_bytes().endswith(b"PAR1"):
        raise ValueError("no Parquet file")
    (run.output_path / "note.txt").write_text("hello")
    run.emit.progress(1.0)
    run.result({"metrics": {"rows": 1}})
"""


class Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str = Field(description="The column to look at.")


class Sound(TaskType):
    """Writes a note."""

    name = "sound"
    Params = Params

    def validate(self, params: BaseModel, dataset: DatasetView | None) -> Sequence[FieldError]:
        assert dataset is not None
        if dataset.column(params.target) is None:  # type: ignore[attr-defined]
            return [FieldError(("params", "target"), "no such column")]
        return ()

    def plan(self, params: BaseModel, dataset: DatasetView | None) -> Plan:
        return Plan((step(params=params.model_dump(mode="json")),))


def step(**changes: Any) -> StepPlan:
    sound: dict[str, Any] = {
        "name": "train",
        "entry": "contract_guest:main",
        "packages": ("contract_guest",),
        "environment": "any",
        "outputs": (Output("note.txt"),),
    }
    return StepPlan(**{**sound, **changes})


EXAMPLE = Example({"target": "y"}, {"y": [1, 2, 3]}, metrics=("rows",))
CONTRACT = TaskContract()


@pytest.fixture
def guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write the source of the guest module."""
    folder = tmp_path / "src"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(source: str, name: str = "contract_guest") -> None:
        (folder / f"{name}.py").write_text(textwrap.dedent(source))

    write(GOOD_GUEST)
    return write


@pytest.fixture
def data(tmp_path: Path) -> tuple[Path, DatasetView]:
    path = tmp_path / "data.parquet"
    return path, write_example(path, EXAMPLE.columns)


class TestSound(TaskContract):
    """The suite passes a sound task: what follows fails for the reason it names."""

    model_output = None

    @pytest.fixture
    def task(self, guest: Any) -> TaskType:
        return Sound()

    @pytest.fixture
    def example(self) -> Example:
        return EXAMPLE

    def test_daemon_loads_no_training_library(self, task: TaskType) -> None:
        """This module is a test, importable only under pytest; see the sabotaged one below."""


# --- the published face


def sabotaged(**members: Any) -> Any:
    return type("Sabotaged", (Sound,), {"__doc__": "Broken.", **members})()


def test_catches_a_name_nobody_can_type_and_a_missing_description() -> None:
    with pytest.raises(AssertionError):
        CONTRACT.test_name_and_description_can_be_listed(sabotaged(name="My Task"))
    with pytest.raises(AssertionError, match="docstring"):
        CONTRACT.test_name_and_description_can_be_listed(sabotaged(__doc__=""))


def test_catches_a_schema_that_is_none() -> None:
    class Odd(Params):
        model_config = ConfigDict(json_schema_extra={"type": "no such type"})

    with pytest.raises(Exception, match="no such type"):
        CONTRACT.test_schema_is_valid_json_schema(sabotaged(Params=Odd))


def test_catches_a_bare_parameter() -> None:
    class Bare(Params):
        depth: int = 3

    with pytest.raises(AssertionError, match="depth"):
        CONTRACT.test_every_parameter_is_described(sabotaged(Params=Bare))


def test_catches_parameters_that_ignore_misspellings() -> None:
    class Lax(BaseModel):
        target: str = ""

    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        CONTRACT.test_unknown_parameters_are_refused(sabotaged(Params=Lax), EXAMPLE)


def test_catches_a_default_that_json_changes() -> None:
    class Changing(Params):
        grid: dict[int, str] | dict[str, str] = Field(default={"1": "a"}, description="A grid.")

    task = sabotaged(Params=Changing)
    with pytest.raises(AssertionError):
        CONTRACT.test_defaults_survive_json(task, Changing(target="y", grid={1: "a"}))


def test_catches_an_example_that_the_schema_refuses() -> None:
    with pytest.raises((ValidationError, Exception), match="target"):
        CONTRACT.test_schema_agrees_with_validation(Sound(), Example({}))


# --- the data


def test_catches_a_task_that_takes_any_data(tmp_path: Path) -> None:
    task = sabotaged(validate=lambda self, params, dataset: ())
    with pytest.raises(AssertionError, match="validate accepted"):
        CONTRACT.test_foreign_data_is_refused_field_by_field(task, Params(target="y"), tmp_path)


def test_catches_errors_that_point_nowhere(tmp_path: Path) -> None:
    task = sabotaged(validate=lambda self, params, dataset: [FieldError((), "bad")])
    with pytest.raises(AssertionError):
        CONTRACT.test_foreign_data_is_refused_field_by_field(task, Params(target="y"), tmp_path)


def test_catches_an_example_the_task_refuses(data: Any) -> None:
    with pytest.raises(AssertionError):
        CONTRACT.test_example_is_valid(Sound(), Params(target="z"), data[1])


# --- the plan


def test_catches_a_plan_that_reads_a_file(data: Any) -> None:
    def plan(self: Any, params: Any, dataset: Any) -> Plan:
        return Plan((step(params={"bytes": len(data[0].read_bytes())}),))

    task = sabotaged(plan=plan)
    ready = task.plan(Params(target="y"), data[1])
    with pytest.raises(AssertionError, match="data.parquet"):
        CONTRACT.test_plan_is_pure(task, Params(target="y"), data[1], ready)


def test_catches_a_plan_that_differs_each_time(data: Any) -> None:
    counter = iter(range(9))
    task = sabotaged(plan=lambda self, params, dataset: Plan((step(params={"n": next(counter)}),)))
    ready = task.plan(Params(target="y"), data[1])
    with pytest.raises(AssertionError):
        CONTRACT.test_plan_is_pure(task, Params(target="y"), data[1], ready)


def test_outside_calls_are_heard_only_inside_the_block(tmp_path: Path) -> None:
    with outside_calls() as calls:
        (tmp_path / "a").write_text("x")
    (tmp_path / "b").write_text("x")
    assert any("a'" in call for call in calls)
    assert not any("b'" in call for call in calls)


def test_catches_params_that_json_changes() -> None:
    with pytest.raises(AssertionError):
        CONTRACT.test_plan_params_survive_json(Plan((step(params={"pair": (1, 2)}),)))


def test_catches_a_package_that_is_not_installed(tmp_path: Path) -> None:
    plan = Plan((step(packages=("no_such_package_x",)),))
    with pytest.raises(ModuleNotFoundError, match="no_such_package_x"):
        CONTRACT.test_packages_can_be_staged(plan, tmp_path)


def test_catches_a_task_module_that_loads_a_training_library(guest: Any) -> None:
    guest("import onnx\nclass Heavy:\n    pass\n", "contract_heavy")
    import contract_heavy  # type: ignore[import-not-found]

    with pytest.raises(AssertionError, match="onnx"):
        CONTRACT.test_daemon_loads_no_training_library(contract_heavy.Heavy())
    sys.modules.pop("contract_heavy")


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((), "it has no steps"),
        ((step(name="Train It"),), "a step name is"),
        ((step(), step()), 'step "train" is there 2 times'),
        ((step(after=("prepare",)),), 'waits for "prepare", which is no step'),
        (
            (step(name="a", after=("b",)), step(name="b", after=("a",))),
            "steps wait for each other",
        ),
        ((step(after=("train",)),), "steps wait for each other"),
        ((step(entry="contract_guest.main"),), "is not package.module:function"),
        ((step(packages=("other",)),), "lies in none of its packages other"),
        ((step(packages=("contract",)),), "lies in none of its packages contract"),
        ((step(params={"x": object()}),), "its params are not JSON"),
        ((step(params={"x": float("nan")}),), "its params are not JSON"),
        ((step(outputs=(Output("a/b"),)),), "with no folders"),
        ((step(outputs=(Output("../b"),)),), "with no folders"),
        ((step(outputs=(Output("result.json"),)),), "the guest's own report"),
        ((step(outputs=(Output("a"), Output("a"))),), 'output "a" is declared 2 times'),
        ((step(outputs=(Output("a", max_bytes=0),)),), "it must be positive"),
    ],
)
def test_says_what_is_wrong_with_a_plan(steps: tuple[StepPlan, ...], said: str) -> None:
    assert any(said in problem for problem in plan_problems(Plan(steps)))


def test_a_sound_plan_has_no_problems_and_an_order() -> None:
    steps = (step(name="c", after=("a", "b")), step(name="b", after=("a",)), step(name="a"))
    assert plan_problems(Plan(steps)) == []
    assert [one.name for one in step_order(Plan(steps))] == ["a", "b", "c"]


# --- the guest


def run(tmp_path: Path, data: Any, **changes: Any) -> GuestRun:
    return GuestRunner(tmp_path / "runs").run("sound", step(**changes), data)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("def main(run): raise RuntimeError('boom')", "boom"),
        ("def main(run): run.result({})", "required output note.txt is missing"),
        (GOOD_GUEST.replace("run.result", "print"), "call Run.result last"),
        (
            GOOD_GUEST + "    (run.output_path / 'stray').write_text('x')\n",
            "undeclared files are thrown away: .*stray",
        ),
        (GOOD_GUEST.replace('"hello"', '""'), "note.txt has a refused size"),
        (
            GOOD_GUEST
            + "    import os\n    os.write(os.open(os.environ['TRAINBOX_EVENTS'], 2 | os.O_APPEND),"
            + " b'hello\\n')\n",
            "lines that are no events",
        ),
        (
            "def main(run):\n    import trainbox_plugins\n",
            "trainbox_plugins is not staged: add it to the packages",
        ),
        ("def main(run):\n    import trainbox_sdk\n", "trainbox_sdk is not staged"),
        (
            "def main(run):\n"
            "    (run.output_path / 'note.txt').symlink_to('/etc/hostname')\n"
            "    run.result({})\n",
            "note.txt is a link",
        ),
    ],
)
def test_catches_a_guest_that_breaks_the_envelope(
    tmp_path: Path, guest: Any, data: Any, source: str, said: str
) -> None:
    guest(source)
    with pytest.raises(AssertionError, match=said):
        check_run(step(), run(tmp_path, data))


def test_a_sound_guest_passes_and_sees_a_clean_environment(
    tmp_path: Path, guest: Any, data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_HOST", "x")
    guest(
        """
        import os
        def main(run):
            assert "SECRET_OF_THE_HOST" not in os.environ
            (run.output_path / "note.txt").write_text(run.params["word"])
            run.result({"job": run.job["dataset_id"]})
        """
    )
    done = run(tmp_path, data, params={"word": "hi"})
    check_run(step(), done)
    assert done.result["job"] == "ds_example"
    assert (done.output / "note.txt").read_text() == "hi"


def test_catches_a_guest_that_accepts_a_damaged_file(tmp_path: Path, guest: Any, data: Any) -> None:
    runner = GuestRunner(tmp_path / "runs")
    guest(GOOD_GUEST.replace("raise ValueError", "print"))
    with pytest.raises(AssertionError, match="damaged data was accepted"):
        CONTRACT.test_unreadable_data_fails_with_a_reason(Sound(), Plan((step(),)), data, runner)


def test_catches_a_model_that_is_none(tmp_path: Path, guest: Any, data: Any) -> None:
    done = run(tmp_path, data)
    (done.output / "model.onnx").write_bytes(b"no model")
    with pytest.raises(Exception, match="(?i)protobuf|invalid"):
        CONTRACT.check_result(done, EXAMPLE)
    with pytest.raises(AssertionError, match="metrics are"):
        CONTRACT.check_result(done, Example({}, {}, metrics=("rmse",)))
