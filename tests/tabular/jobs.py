"""Runs the guest's main as the sandbox would."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
from mixed_data import write_parquet
from models import run as run_graph
from trainbox_guest import protocol
from trainbox_guest.emit import Emitter
from trainbox_guest.run import Run

from trainbox_plugins.tabular.guest.main import main

FAST = {"trials": 2, "max_iterations": 25, "early_stopping_rounds": 10}


@dataclass
class Done:
    """What a job left behind."""

    folder: Path
    result: dict[str, Any]
    events: list[dict[str, Any]]
    onnx: bytes

    @property
    def messages(self) -> list[str]:
        return [event["text"] for event in self.events if event["t"] == "message"]

    def metrics(self, name: str) -> list[dict[str, Any]]:
        return [e for e in self.events if e["t"] == "metric" and e["name"] == name]

    @property
    def metadata(self) -> dict[str, str]:
        return {p.key: p.value for p in onnx.load_from_string(self.onnx).metadata_props}

    def predict(self, table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        from trainbox_plugins.onnx_kit.columns import Column
        from trainbox_plugins.tabular.guest.frame import Frame

        columns = [Column(i["name"], i["type"]) for i in self.result["signature"]["inputs"]]
        return run_graph(self.onnx, Frame(tuple(columns), {}), table)


def read_events(path: Path) -> list[dict[str, Any]]:
    return [protocol.decode_event(line) for line in path.read_bytes().splitlines(keepends=True)]


def prepare(folder: Path, frame: pd.DataFrame, **casts: str) -> None:
    for name in ("out", "scratch"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    write_parquet(frame, folder / "data.parquet", **casts)


def spec_of(task: str, params: dict[str, Any], memory_bytes: int = 0) -> protocol.GuestSpec:
    job = {"job_id": "job_1", "dataset_digest": "sha256:ab", "dataset_name": "demo", "attempt": 1}
    entry = "trainbox_plugins.tabular.guest.main:main"
    return protocol.GuestSpec(
        entry, task, {**FAST, "target": "y", **params}, job, 2.0, memory_bytes
    )


def start(folder: Path, task: str, *, memory_bytes: int = 0, **params: Any) -> Done:
    """Run over ``folder/data.parquet``."""
    events = folder / "events.jsonl"
    main(
        Run(
            spec_of(task, params, memory_bytes), folder / "data.parquet", folder / "out", folder / "scratch",
            Emitter(str(events)),
        )
    )  # fmt: skip
    result = json.loads((folder / "out" / "result.json").read_text())
    onnx_bytes = (folder / "out" / "model.onnx").read_bytes()
    return Done(folder, result, read_events(events), onnx_bytes)


def train_job(folder: Path, frame: pd.DataFrame, task: str, *, casts=None, **params: Any) -> Done:
    """Write the data and run."""
    prepare(folder, frame, **(casts or {}))
    return start(folder, task, **params)
