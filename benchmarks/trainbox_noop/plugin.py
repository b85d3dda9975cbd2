"""Registers the no-op task."""

from pydantic import BaseModel, ConfigDict

from trainbox_sdk import hookimpl
from trainbox_sdk.jobs import Resources
from trainbox_sdk.tasks import Plan, StepPlan, TaskType


class NoopParams(BaseModel):
    """How long to sleep, in seconds."""

    model_config = ConfigDict(extra="forbid")

    sleep_s: float = 0.0


class Noop(TaskType):
    """Do nothing."""

    name = "noop"
    Params = NoopParams
    needs_dataset = False
    resources = Resources(cpus=1.0, memory_bytes=256 * 1024**2, timeout_s=60.0)

    def plan(self, params, dataset):
        """Return one empty step."""
        step = StepPlan(
            "noop",
            "trainbox_noop.guest:main",
            ("trainbox_noop.guest",),
            "tabular",
            params=params.model_dump(),
        )
        return Plan((step,))


class Plugin:
    """The no-op task."""

    api = 1

    @hookimpl
    def register_tasks(self):
        """Return it."""
        return [Noop()]
