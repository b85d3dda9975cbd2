"""Custom scripts, as a task type: a user's own code trains, trainbox confines and keeps."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel

from trainbox_plugins.custom_script.environments import ENVIRONMENTS
from trainbox_plugins.custom_script.params import CustomScriptParams
from trainbox_sdk import hookimpl
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.environments import Environment
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import Output, Plan, PlanFile, StepPlan, TaskType

GIB = 1024**3

MODEL = Output(
    name="model",
    kind="model",
    required=False,
    max_bytes=2 * GIB,
    check="onnx",
    tree=True,
)


class CustomScript(TaskType):
    """Run your own training script in a sandbox without network.

    It finds the data at DATASET_PATH and leaves a file, or a directory of files, at
    MODEL_OUTPUT_PATH.
    """

    name = "custom_script"
    title = "Custom script"
    Params = CustomScriptParams
    needs_dataset = False
    resources: ClassVar[Resources] = Resources(cpus=2.0, memory_bytes=8 * GIB, timeout_s=7200.0)
    most: ClassVar[Resources | None] = Resources(
        cpus=32.0, memory_bytes=128 * GIB, gpus=8, timeout_s=86_400.0
    )

    def plan(self, params: BaseModel, dataset: DatasetView | None) -> Plan:
        """Return the single step that runs the script."""
        del dataset
        assert isinstance(params, CustomScriptParams)
        needed = {"entry_point", "arguments", "environment_vars", "dataset_format"}
        return Plan(
            steps=(
                StepPlan(
                    name="run",
                    entry="trainbox_plugins.custom_script.guest.main:main",
                    packages=("trainbox_plugins.custom_script.guest",),
                    environment=params.runtime,
                    params=params.model_dump(mode="json", include=needed),
                    outputs=(MODEL,),
                    trusted=False,
                    files=tuple(PlanFile(use.name, use.asset) for use in params.assets),
                    requirements=tuple(
                        use.name for use in params.assets if use.kind == "requirements"
                    ),
                ),
            )
        )


class Plugin:
    """The custom script task and the runtimes it runs in."""

    api = 1

    @hookimpl
    def register_tasks(self) -> list[TaskType]:
        """Return the one task."""
        return [CustomScript()]

    @hookimpl
    def register_environments(self) -> list[Environment]:
        """Return one environment for each Python."""
        return list(ENVIRONMENTS)
