"""What importing a part of the house drags in, measured in a fresh interpreter."""

from __future__ import annotations

import subprocess
import sys

import pytest

TRAINING = {"catboost", "onnx", "optuna", "pandas", "sklearn", "torch"}
SERVING = {"aiohttp", "docker", "sqlalchemy", "sqlmodel", "alembic", "duckdb", "onnxruntime"}


def loaded_by(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(*sys.modules, sep='\\n')"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize(
    "module", ["trainbox_plugins.tabular.plugin", "trainbox_plugins.onnx_check.plugin"]
)
def test_a_task_plugin_loads_no_server_and_no_training_library(module: str) -> None:
    assert not loaded_by(f"import {module}") & {*TRAINING, *SERVING, "numpy"}


def test_the_whole_daemon_loads_no_training_library() -> None:
    everything = (
        "import trainbox.app; from trainbox.plugins import *; "
        "[one.load() for one in installed_plugins() if one.distribution == 'trainbox']"
    )
    loaded = loaded_by(everything)
    assert "trainbox_plugins" in loaded
    assert not loaded & TRAINING


def test_the_command_line_starts_without_the_daemon() -> None:
    assert not loaded_by("import trainbox.cli") & {*TRAINING, *SERVING, "numpy", "pydantic", "rich"}


def test_the_sdk_needs_no_server() -> None:
    modules = "tasks, trainbox_sdk.backends, trainbox_sdk.hooks, trainbox_sdk.engine"
    assert not loaded_by(f"import trainbox_sdk.{modules}") & {*TRAINING, *SERVING}


def test_the_guest_loads_nothing_else() -> None:
    third_party = {"pydantic", "pluggy", "numpy", "trainbox", "trainbox_sdk", "trainbox_plugins"}
    assert not loaded_by("import trainbox_guest.main") & {*third_party, *TRAINING, *SERVING}
