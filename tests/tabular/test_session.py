"""The runtime computes and does nothing else."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import trainbox_plugins.onnx_kit
import trainbox_plugins.tabular

USE = """
import numpy as np
from trainbox_plugins.onnx_kit.calendar_features import calendar_graph
from trainbox_plugins.onnx_kit.session import open_session
print(open_session(calendar_graph()).run(None, {"seconds": np.zeros((1, 1), np.int64)})[0][0, 0])
"""


def test_no_device_id_and_no_event_store_are_written(tmp_path):
    environment = {
        "HOME": str(tmp_path),
        "XDG_CACHE_HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-c", USE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1970.0"
    assert [str(path) for path in tmp_path.rglob("*")] == []


def test_only_one_module_imports_the_runtime():
    folders = [
        Path(p.__file__).parent for p in (trainbox_plugins.onnx_kit, trainbox_plugins.tabular)
    ]
    importers = set()
    for path in (path for folder in folders for path in folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] == "onnxruntime" for name in names):
                importers.add(path.name)
    assert importers == {"session.py"}
