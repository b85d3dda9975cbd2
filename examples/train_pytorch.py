"""Trains a small network with PyTorch on CPU and leaves it as ONNX.

With a daemon running:

    trainbox run examples/train_pytorch.py --data examples/churn.csv \
        --requirements examples/train_pytorch_requirements.txt --env EPOCHS=40 -o churn
"""
# ruff: noqa: INP001, T201 - a script to read

import os
import warnings

import pandas as pd
import torch

from trainbox_guest import report

EPOCHS = int(os.environ.get("EPOCHS", "40"))
FEATURES = ["age", "spend"]

torch.manual_seed(0)
rows = pd.read_parquet(os.environ["DATASET_PATH"])
inputs = torch.tensor(rows[FEATURES].to_numpy("float32"))
labels = torch.tensor((rows["churned"] == "yes").to_numpy("float32")).unsqueeze(1)


class Net(torch.nn.Module):
    """Two layers over standardised columns; the standardising is part of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", inputs.mean(dim=0))
        self.register_buffer("spread", inputs.std(dim=0))
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(len(FEATURES), 16), torch.nn.ReLU(), torch.nn.Linear(16, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return a logit per row."""
        return self.layers((x - self.mean) / self.spread)


net = Net()
optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
for epoch in range(EPOCHS):
    optimizer.zero_grad()
    loss = torch.nn.functional.binary_cross_entropy_with_logits(net(inputs), labels)
    loss.backward()
    optimizer.step()
    report.metrics(loss=loss.item(), epoch=epoch)
    report.progress((epoch + 1) / EPOCHS)

with torch.no_grad():
    accuracy = ((net(inputs) > 0) == (labels > 0)).float().mean().item()
report.metrics(accuracy=accuracy)
print(f"accuracy {accuracy:.3f} after {EPOCHS} epochs")

with warnings.catch_warnings():
    # The older exporter needs no further package; it says that there is a newer one.
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.onnx.export(
        torch.nn.Sequential(net, torch.nn.Sigmoid()).eval(),
        (inputs[:1],),
        os.environ["MODEL_OUTPUT_PATH"],
        dynamo=False,
        input_names=["features"],
        output_names=["probability"],
        dynamic_axes={"features": {0: "rows"}, "probability": {0: "rows"}},
    )
