"""The conformance suite of task types: subclass it, say what your task is, and run pytest.

::

    class TestBaseline(TaskContract):
        @pytest.fixture
        def task(self):
            return Baseline()

        @pytest.fixture
        def example(self):
            return Example({"target": "y"}, {"y": [1.0, 2.0, 4.0], "x": ["a", "b", None]})

Needs ``pytest`` and ``jsonschema`` beside trainbox. The guest runs as a real process with only the
staged packages importable; ``guest_python`` names another interpreter where the author's own lacks
the environment's packages.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import jsonschema
import pytest
from pydantic import BaseModel, ValidationError

from trainbox_guest import protocol
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.errors import FieldError
from trainbox_sdk.plans import plan_problems, step_order
from trainbox_sdk.tasks import Output, Plan, StepPlan, TaskType
from trainbox_sdk.testing.example_data import write_example
from trainbox_sdk.testing.guest_runs import GuestRun, GuestRunner, stage_packages
from trainbox_sdk.testing.purity import outside_calls

NOT_IN_THE_DAEMON = (
    "catboost",
    "lightgbm",
    "onnx",
    "optuna",
    "pandas",
    "sklearn",
    "tensorflow",
    "torch",
    "transformers",
    "xgboost",
)


@dataclass(frozen=True)
class Example:
    """A small job that must succeed.

    Attributes:
        params: as a caller sends them.
        columns: the data, column by column (see :func:`write_example`); empty for a task that
            needs none.
        metrics: names of metrics the result must report.
    """

    params: Mapping[str, Any]
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    metrics: tuple[str, ...] = ()


class TaskContract:
    """What every task type promises. Override the fixtures, and add tests of your own.

    Attributes:
        reads_columns: whether the parameters name columns, so that foreign data must be refused.
        model_output: name of the ONNX file the last step leaves, None where there is none.
    """

    reads_columns: ClassVar[bool] = True
    model_output: ClassVar[str | None] = "model.onnx"

    @pytest.fixture
    def task(self) -> TaskType:
        """Return the task type under test."""
        raise NotImplementedError("override the fixture `task`")

    @pytest.fixture
    def example(self) -> Example:
        """Return a small job that must succeed."""
        raise NotImplementedError("override the fixture `example`")

    @pytest.fixture
    def guest_python(self) -> str:
        """Return the interpreter that has the environment's packages."""
        return sys.executable

    @pytest.fixture
    def params(self, task: TaskType, example: Example) -> BaseModel:
        """Return the example's parameters, validated."""
        return task.Params.model_validate(dict(example.params))

    @pytest.fixture
    def dataset(self, example: Example, tmp_path: Path) -> tuple[Path, DatasetView] | None:
        """Return the example's data as Parquet, with the view the daemon has of it."""
        if not example.columns:
            return None
        path = tmp_path / "example.parquet"
        return path, write_example(path, example.columns)

    @pytest.fixture
    def view(self, dataset: tuple[Path, DatasetView] | None) -> DatasetView | None:
        """Return the view alone."""
        return dataset[1] if dataset else None

    @pytest.fixture
    def plan(self, task: TaskType, params: BaseModel, view: DatasetView | None) -> Plan:
        """Return the example's plan."""
        return task.plan(params, view)

    @pytest.fixture
    def runner(self, guest_python: str, tmp_path: Path) -> GuestRunner:
        """Return what runs the guest's steps."""
        return GuestRunner(tmp_path / "runs", python=guest_python)

    # -- what is published -------------------------------------------------------------------

    def test_name_and_description_can_be_listed(self, task: TaskType) -> None:
        """A name callers can type, and a docstring that says what the task does."""
        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,63}", task.name), f"a poor name: {task.name!r}"
        assert (type(task).__doc__ or "").strip(), "the class docstring is the description"

    def test_schema_is_valid_json_schema(self, task: TaskType) -> None:
        """The published schema is one, and is JSON."""
        schema = json.loads(json.dumps(task.Params.model_json_schema(), allow_nan=False))
        jsonschema.Draft202012Validator.check_schema(schema)

    def test_every_parameter_is_described(self, task: TaskType) -> None:
        """The schema is all that a caller sees of a parameter."""
        properties = task.Params.model_json_schema().get("properties", {})
        bare = [name for name, one in properties.items() if not one.get("description")]
        assert not bare, f"parameters without a description: {bare}"

    def test_schema_agrees_with_validation(self, task: TaskType, example: Example) -> None:
        """What the schema accepts of the example, the model accepts too."""
        jsonschema.validate(dict(example.params), task.Params.model_json_schema())
        task.Params.model_validate(dict(example.params))

    def test_defaults_survive_json(self, task: TaskType, params: BaseModel) -> None:
        """Stored parameters, with every default filled in, read back as the same parameters."""
        stored = json.loads(json.dumps(params.model_dump(mode="json"), allow_nan=False))
        assert task.Params.model_validate(stored) == params, f"stored as {stored}"

    def test_unknown_parameters_are_refused(self, task: TaskType, example: Example) -> None:
        """A misspelt parameter must not pass silently as a default."""
        with pytest.raises(ValidationError):
            task.Params.model_validate({**example.params, "no_such_parameter_": 1})

    # -- what is demanded of the data --------------------------------------------------------

    def test_example_is_valid(
        self, task: TaskType, params: BaseModel, view: DatasetView | None
    ) -> None:
        """The example's data is what its parameters need."""
        assert task.needs_dataset == (view is not None), "Example.columns and needs_dataset differ"
        errors = list(task.validate(params, view))
        assert not errors, f"validate refuses the example: {errors}"

    def test_foreign_data_is_refused_field_by_field(
        self, task: TaskType, params: BaseModel, tmp_path: Path
    ) -> None:
        """Parameters that name columns the data lacks are refused before anything is queued."""
        if not (task.needs_dataset and self.reads_columns):
            return
        foreign = write_example(tmp_path / "foreign.parquet", {"some other column": [1, 2, 3]})
        errors = list(task.validate(params, foreign))
        assert errors, "validate accepted data without any of the example's columns"
        for error in errors:
            assert isinstance(error, FieldError), f"{error!r} is no FieldError"
            assert error.loc[:1] in {("params",), ("dataset",)}, f"{error} points nowhere"
            assert error.msg, f"{error} says nothing"

    # -- the plan ----------------------------------------------------------------------------

    def test_plan_is_sound(self, plan: Plan) -> None:
        """Steps, entries, outputs and parameters are ones an engine can run."""
        problems = plan_problems(plan)
        assert not problems, "; ".join(problems)

    def test_plan_is_pure(
        self, task: TaskType, params: BaseModel, view: DatasetView | None, plan: Plan
    ) -> None:
        """The same input gives the same plan, with no file, process or connection opened."""
        before = params.model_copy(deep=True)
        with outside_calls() as calls:
            again = task.plan(params, view)
        assert again == plan, f"a second call gave another plan: {again}"
        assert not calls, f"plan() reached outside: {calls}"
        assert params == before, "plan() changed its parameters"

    def test_plan_params_survive_json(self, plan: Plan) -> None:
        """A tuple or a number as a key would reach the guest as something else."""
        for step in plan.steps:
            arrives = json.loads(json.dumps(dict(step.params)))
            assert arrives == dict(step.params), f"the guest would get {arrives}"

    def test_packages_can_be_staged(self, plan: Plan, tmp_path: Path) -> None:
        """Every package of every step is installed here."""
        for step in plan.steps:
            stage_packages(step.packages, tmp_path / "stage" / step.name)

    def test_daemon_loads_no_training_library(self, task: TaskType) -> None:
        """Importing the task's module leaves training libraries and other plugins' alone."""
        module = type(task).__module__
        code = f"import sys, {module}; print(*sys.modules, sep='\\n')"
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        loaded = {name.partition(".")[0] for name in done.stdout.split()}
        heavy = sorted(loaded & {*NOT_IN_THE_DAEMON, "aiohttp", "docker"})
        assert not heavy, f"importing {module} loads {heavy}: import them in the guest"

    # -- the guest ---------------------------------------------------------------------------

    def test_example_runs_to_its_declared_outputs(
        self,
        task: TaskType,
        plan: Plan,
        dataset: tuple[Path, DatasetView] | None,
        example: Example,
        runner: GuestRunner,
    ) -> None:
        """Every step ends well and leaves what it declared, and nothing else."""
        files: dict[str, Path] = {}
        run: GuestRun | None = None
        for step in step_order(plan):
            given = {name: path for name, path in files.items() if name.split(".")[0] in step.after}
            run = runner.run(task.name, step, dataset, inputs=given, resources=task.resources)
            check_run(step, run)
            files.update({f"{step.name}.{one.name}": run.output / one.name for one in step.outputs})
        assert run is not None
        self.check_result(run, example)

    def test_unreadable_data_fails_with_a_reason(
        self,
        task: TaskType,
        plan: Plan,
        dataset: tuple[Path, DatasetView] | None,
        runner: GuestRunner,
    ) -> None:
        """A damaged file ends the first step with a failure event, not with a model."""
        if dataset is None:
            return
        damaged = dataset[0].with_name("damaged.parquet")
        damaged.write_bytes(dataset[0].read_bytes()[:-7])
        run = runner.run(task.name, step_order(plan)[0], (damaged, dataset[1]))
        assert run.exit_code != protocol.EXIT_OK, f"damaged data was accepted:\n{run.log}"
        assert len(run.failures) == 1, f"one failure event is expected:\n{run.log}"
        assert run.failures[0]["message"], "the failure event says nothing"
        assert protocol.RESULT_NAME not in run.files, "a failed step left a result"

    def check_result(self, run: GuestRun, example: Example) -> None:
        """Check the last step's report and model; override to check more."""
        metrics = run.result.get("metrics", {})
        assert set(example.metrics) <= set(metrics), f"metrics are {sorted(metrics)}"
        odd = [
            n for n, v in metrics.items() if not isinstance(v, int | float) or not math.isfinite(v)
        ]
        assert not odd, f"metrics that are no finite numbers: {odd}"
        if self.model_output is not None:
            check_model(run.output / self.model_output, run.result)


def check_run(step: StepPlan, run: GuestRun) -> None:
    """Check that one step ended well, within its declarations and the protocol."""
    assert run.exit_code == protocol.EXIT_OK, f"step {step.name} failed:\n{run.log}"
    assert run.stray_lines == 0, "TRAINBOX_EVENTS has lines that are no events; print to stdout"
    assert not run.failures, f"a step that ended well says it failed: {run.failures}"
    assert run.result.get("protocol") == protocol.PROTOCOL, "call Run.result last"
    declared = {output.name: output for output in step.outputs}
    stray = set(run.files) - set(declared) - {protocol.RESULT_NAME}
    assert not stray, f"undeclared files are thrown away: {sorted(stray)}"
    for name, output in declared.items():
        _check_output(output, run.output / name)


def _check_output(output: Output, path: Path) -> None:
    if not path.exists():
        assert not output.required, f"required output {output.name} is missing"
        return
    assert path.is_file(), f"{output.name} is no regular file"
    assert not path.is_symlink(), f"{output.name} is a link"
    assert 0 < path.stat().st_size <= output.max_bytes, f"{output.name} has a refused size"


def check_model(path: Path, result: Mapping[str, Any]) -> None:
    """Check that bare onnxruntime loads the model and that the signature tells its inputs."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before it starts
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    signature = result.get("signature", {})
    for side, nodes in (("inputs", session.get_inputs()), ("outputs", session.get_outputs())):
        told = [entry["name"] for entry in signature.get(side, [])]
        assert told == [node.name for node in nodes], f"the signature's {side} are {told}"
