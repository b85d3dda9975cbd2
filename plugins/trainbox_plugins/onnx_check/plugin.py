"""Registers the ``onnx`` artifact check."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from trainbox_sdk import hookimpl
from trainbox_sdk.tasks import ArtifactCheck


class CheckConfig(BaseModel):
    """Settings in ``[plugin.config]``."""

    model_config = ConfigDict(extra="forbid")

    environment: str = Field("tabular", description="An environment with onnx and onnxruntime.")
    memory_bytes: int = Field(2 * 1024**3, gt=0, description="Memory of the check's sandbox.")
    timeout_s: float = Field(120.0, gt=0, description="Time limit of the check.")


class Plugin:
    """The ONNX check."""

    api = 1
    Config = CheckConfig

    def __init__(self, config: CheckConfig) -> None:
        self._config = config

    @hookimpl
    def register_checks(self) -> list[ArtifactCheck]:
        """Return the one check."""
        return [
            ArtifactCheck(
                name="onnx",
                entry="trainbox_plugins.onnx_check.guest:main",
                packages=(
                    "trainbox_plugins.onnx_check.guest",
                    "trainbox_plugins.onnx_check.foreign",
                    "trainbox_plugins.onnx_check.names",
                    "trainbox_plugins.onnx_check.refusal",
                    "trainbox_plugins.onnx_kit.rows",
                ),
                environment=self._config.environment,
                memory_bytes=self._config.memory_bytes,
                timeout_s=self._config.timeout_s,
            )
        ]
