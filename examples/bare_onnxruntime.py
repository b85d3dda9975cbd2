"""The same ONNX file without trainbox: bare onnxruntime and numpy give the daemon's numbers.

    examples/train_and_predict.sh loans
    python -m venv bare && bare/bin/pip install onnxruntime numpy
    bare/bin/python examples/bare_onnxruntime.py loans

Reads model.onnx, rows.json and answer.json of that folder. Leaves with 1 if any number differs by
more than 1e-5, which is float32 printed and read back, and with 2 if a file is absent.

A model's inputs have the names and types of the raw columns, each of shape [rows, 1]. How a missing
value is written depends on the type, which the file's own metadata says:

    number    float32   NaN
    boolean   float32   NaN (true is 1, false is 0)
    string    string    ""
    datetime  int64     the smallest int64 (else seconds since 1970 in UTC)
"""
# ruff: noqa: ANN001, ANN201, INP001, T201, UP017 - a script to read, with a bare Python

import datetime as dt
import importlib.util
import json
import math
import os
import sys
from pathlib import Path

import numpy as np

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # its wheels report usage otherwise
import onnxruntime

FILES = ("model.onnx", "rows.json", "answer.json")
TOLERANCE = 1e-5
NO_TIME = np.iinfo(np.int64).min


def seconds(text):
    """Return a date or time as seconds since 1970, rounded down; one without a zone is UTC."""
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=dt.timezone.utc)
    return math.floor(moment.timestamp())


def column(values, type_):
    """Return one input of shape [rows, 1]."""
    if type_ in ("number", "boolean"):
        cells = np.array([np.nan if v is None else float(v) for v in values], dtype=np.float32)
    elif type_ == "datetime":
        cells = np.array([NO_TIME if v is None else seconds(v) for v in values], dtype=np.int64)
    else:
        cells = np.array(["" if v is None else str(v) for v in values], dtype=object)
    return cells.reshape(-1, 1)


def input_types(session):
    """Return each input's column type, from the metadata that travels in the file."""
    schema = json.loads(session.get_modelmeta().custom_metadata_map["trainbox.schema"])
    return {each["name"]: each["type"] for each in schema["inputs"]}


def predict(session, rows):
    """Return each output of the model by name."""
    types = input_types(session)
    feeds = {
        each.name: column([row[each.name] for row in rows], types[each.name])
        for each in session.get_inputs()
    }
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def difference(outputs, answers):
    """Return the largest difference of any number; raise where the answers themselves differ."""
    worst = 0.0
    labels = np.ravel(outputs["prediction"]).tolist()
    classes = [label_key(label) for label in np.ravel(outputs.get("classes", [])).tolist()]
    for at, (bare, answer) in enumerate(zip(labels, answers, strict=True)):
        print(f"row {at}: bare {bare!r}, daemon {answer['prediction']!r}")
        if not classes:
            scale = max(1.0, abs(answer["prediction"]))
            worst = max(worst, abs(bare - answer["prediction"]) / scale)
            continue
        if bare != answer["prediction"]:
            raise SystemExit(f"row {at}: the answers differ")
        for label, share in zip(classes, outputs["probabilities"][at], strict=True):
            worst = max(worst, abs(float(share) - answer["probabilities"][label]))
    return worst


def label_key(label):
    """Return a class label as a JSON object's key."""
    return str(label).lower() if isinstance(label, bool) else str(label)


def main(folder):
    """Compare; returns the exit code."""
    if importlib.util.find_spec("trainbox") is not None:
        print("note: trainbox is installed here; nothing of it is imported", file=sys.stderr)
    absent = [name for name in FILES if not (folder / name).is_file()]
    if absent:
        print(
            f"{folder} has no {', '.join(absent)}; examples/train_and_predict.sh {folder} makes it",
            file=sys.stderr,
        )
        return 2
    path = str(folder / "model.onnx")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    rows = json.loads((folder / "rows.json").read_text(encoding="utf-8"))["rows"]
    answers = json.loads((folder / "answer.json").read_text(encoding="utf-8"))["rows"]
    worst = difference(predict(session, rows), answers)
    print(f"{len(rows)} rows, largest difference {worst:.2e}")
    return 0 if rows and worst <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else "loans")))
