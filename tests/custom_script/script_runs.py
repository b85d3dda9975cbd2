"""Runs a script's files through the guest, as a sandbox would, in a process of its own."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainbox_plugins.custom_script.plugin import CustomScript
from trainbox_sdk.artifacts import DatasetView
from trainbox_sdk.testing.guest_runs import GuestRun, GuestRunner

Play = Callable[..., GuestRun]


def player(tmp_path: Path) -> Play:
    """Return how to run a script: its source, more files by name, and further parameters."""
    runner = GuestRunner(tmp_path / "runs", timeout_s=60)
    task = CustomScript()

    def run(
        source: str,
        *,
        files: Mapping[str, str] | None = None,
        dataset: tuple[Path, DatasetView] | None = None,
        **params: Any,
    ) -> GuestRun:
        texts = {"train.py": textwrap.dedent(source), **(files or {})}
        folder = tmp_path / "files"
        folder.mkdir(exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
        assets = [
            {"asset": f"ast_{n}", "name": name, "kind": "script" if name == "train.py" else "other"}
            for n, name in enumerate(texts)
        ]
        document = {"entry_point": "train.py", "assets": assets, **params}
        plan = task.plan(task.Params.model_validate(document), None)
        inputs = {name: folder / name for name in texts}
        return runner.run("custom_script", plan.steps[0], dataset, inputs=inputs)

    return run
