"""The files by which MLflow loads and serves a model directory, written without MLflow.

``MLmodel`` names two flavors: ``onnx`` for who wants the bare graph, and ``python_function``, whose
loader travels in ``code/`` and takes a DataFrame with text, numbers, dates and gaps. MLflow's own
ONNX wrapper feeds columns as they are, and so takes neither (MLflow documentation, "MLflow Models",
storage format and model signature).
"""

from __future__ import annotations

import json
import uuid
from importlib.resources import files
from typing import Any

from trainbox.engine.artifact_directory import yaml_text
from trainbox.engine.artifact_directory.facts import Origin

LOADER = "trainbox_model"
NEEDED = {"mlflow": ">=3.0", "numpy": ">=1.26", "onnxruntime": ">=1.20", "pandas": ">=2.2"}
"""What the loader and ``mlflow models serve`` need, and what will do where nothing is pinned."""
PYTHON = "3.11"


def mlflow_files(origin: Origin) -> dict[str, str]:
    """Return the text of each file by path."""
    requirements = [name + _version(origin, name) for name in sorted(NEEDED)]
    python = str(origin.environment.get("python") or PYTHON)
    dependencies = [f"python={python}", "pip", {"pip": requirements}]
    return {
        "MLmodel": yaml_text.dump(_mlmodel(origin, python)),
        "requirements.txt": "".join(f"{line}\n" for line in requirements),
        "python_env.yaml": yaml_text.dump(
            {
                "python": python,
                "build_dependencies": ["pip", "setuptools", "wheel"],
                "dependencies": ["-r requirements.txt"],
            }
        ),
        "conda.yaml": yaml_text.dump(
            {"name": "mlflow-env", "channels": ["conda-forge"], "dependencies": dependencies}
        ),
        f"code/{LOADER}.py": files("trainbox").joinpath("data", f"{LOADER}.py").read_text("utf-8"),
    }


def _version(origin: Origin, package: str) -> str:
    pinned = origin.pin(package)
    return NEEDED[package] if pinned is None else f"=={pinned}"


def _mlmodel(origin: Origin, python: str) -> dict[str, Any]:
    model = origin.model
    document: dict[str, Any] = {
        "artifact_path": model.name,
        "flavors": {
            "python_function": {
                "loader_module": LOADER,
                "code": "code",
                "env": {"conda": "conda.yaml", "virtualenv": "python_env.yaml"},
                "python_version": python,
            },
            "onnx": {
                "data": "model.onnx",
                "onnx_version": origin.pin("onnx") or "",
                "providers": ["CPUExecutionProvider"],
                "code": None,
            },
        },
        "model_uuid": uuid.uuid5(uuid.NAMESPACE_URL, f"urn:trainbox:{model.id}").hex,
        "utc_time_created": model.created_at.strftime("%Y-%m-%d %H:%M:%S.%f"),
        "signature": _signature(origin),
        "metadata": {
            "trainbox.model": f"{model.name}:{model.version}",
            "trainbox.model_id": model.id,
            "trainbox.task": model.task,
        },
    }
    if origin.preview is not None:
        document["saved_input_example_info"] = {
            "artifact_path": "input_example.json",
            "type": "dataframe",
            "pandas_orient": "split",
        }
    return document


def _signature(origin: Origin) -> dict[str, Any]:
    """Return the schema MLflow enforces: the names, and text where text is due.

    The rest is ``any``, for the loader checks it: as ``double``, MLflow would refuse a column of
    whole numbers, and a column of dates and gaps as ``datetime``.
    """
    inputs = [
        {
            "type": "string" if item.get("type") == "string" else "any",
            "name": item["name"],
            "required": True,
        }
        for item in origin.inputs
    ]
    outputs = [
        {"type": "any", "name": item["name"], "required": True}
        for item in origin.outputs
        if item["name"] != "classes"
    ]
    return {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs), "params": None}
