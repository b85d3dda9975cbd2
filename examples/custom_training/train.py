"""Who repays a loan: a logistic regression, trained epoch by epoch, left as ONNX and as joblib.

Runs wherever DATASET_PATH and MODEL_OUTPUT_PATH say where data is and a model goes.
"""

import json
import os
import sys
from pathlib import Path

import joblib
import numpy as np
import onnx_file  # lies beside this script: an asset too
import pandas as pd
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler

settings = json.loads(Path(__file__).with_name("settings.json").read_text(encoding="utf-8"))
epochs = int(os.environ.get("EPOCHS", "10"))
rate = float(os.environ.get("LEARNING_RATE", "0.01"))
features = settings["features"]

data = pd.read_csv(os.environ["DATASET_PATH"])
rows, target = data[features].to_numpy(np.float64), data[settings["target"]].to_numpy()
print(f"INFO: Python {sys.version.split()[0]}, {len(data)} rows", flush=True)

scaler = StandardScaler().fit(rows)
model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=rate, random_state=7)
classes = sorted(set(target))
for epoch in range(1, epochs + 1):
    model.partial_fit(scaler.transform(rows), target, classes=classes)
    accuracy = model.score(scaler.transform(rows), target)
    # A line of this form on stdout is a point of a curve.
    print(json.dumps({"metric": {"accuracy": accuracy}, "epoch": epoch, "total_epochs": epochs}))

weights = model.coef_[0] / scaler.scale_
bias = float(model.intercept_[0] - (weights * scaler.mean_).sum())
folder = Path(os.environ["MODEL_OUTPUT_PATH"])
folder.mkdir(parents=True, exist_ok=True)
(folder / "model.onnx").write_bytes(onnx_file.logistic(features, weights, bias, classes))
joblib.dump((scaler, model), folder / "model.joblib")
print("WARNING: this is an example, lend no money by it", file=sys.stderr)
