"""What trainbox finds by entry point."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from trainbox_baseline.task import ENVIRONMENT, Baseline
from trainbox_sdk import hookimpl
from trainbox_sdk.environments import Environment
from trainbox_sdk.tasks import TaskType


class Config(BaseModel):
    """``[plugin.config]`` in plugins.toml."""

    model_config = ConfigDict(extra="forbid")

    most_groups: int = Field(default=1000, ge=1, description="Groups a model may have at most.")


class Plugin:
    """One task type and the environment it runs in."""

    api = 1
    Config = Config

    def __init__(self, config: Config) -> None:
        self._config = config

    @hookimpl
    def register_tasks(self) -> list[TaskType]:
        return [Baseline(most_groups=self._config.most_groups)]

    @hookimpl
    def register_environments(self) -> list[Environment]:
        return [
            Environment(
                name=ENVIRONMENT,
                python="3.11",
                requirements=Path(__file__).with_name("requirements.lock"),
                warm_imports=("duckdb", "onnx", "onnxruntime"),
            )
        ]
