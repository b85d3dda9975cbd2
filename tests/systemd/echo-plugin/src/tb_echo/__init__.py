"""A task whose environment holds nothing but this package: there is no network to get more from."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from trainbox_sdk import hookimpl
from trainbox_sdk.environments import Environment
from trainbox_sdk.tasks import Output, Plan, StepPlan, TaskType


class Params(BaseModel):
    model_config = ConfigDict(extra="forbid")

    seconds: float = 0.0


class Echo(TaskType):
    name = "echo"
    title = "Say what is seen"
    Params = Params
    needs_dataset = False

    def plan(self, params, dataset):
        step = StepPlan(
            name="train",
            entry="tb_echo.guest:main",
            packages=("tb_echo.guest",),
            environment="bare",
            params=params.model_dump(mode="json"),
            outputs=(Output("seen.json", media_type="application/json"),),
        )
        return Plan((step,))


class Config(BaseModel):
    lock: Path


class Plugin:
    api = 1
    Config = Config

    def __init__(self, config):
        self._lock = config.lock

    @hookimpl
    def register_tasks(self):
        return [Echo()]

    @hookimpl
    def register_environments(self):
        return [Environment("bare", "3.11", self._lock)]
