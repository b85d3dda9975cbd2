"""The example of PyTorch on CPU: its package comes by a requirements asset, its graph predicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from trainbox_client import Client

pytestmark = [pytest.mark.docker, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.timeout(900)  # a first run downloads torch and makes its image
def test_pytorch_trains_and_exports(client: Client, tmp_path: Path) -> None:
    job = client.run_script(
        EXAMPLES / "train_pytorch.py",
        dataset=client.datasets.upload(EXAMPLES / "churn.csv"),
        requirements=EXAMPLES / "train_pytorch_requirements.txt",
        environment={"EPOCHS": "60"},
        resources={"cpus": 1, "memory_bytes": 2 * 1024**3},
        name="torch",
    )
    model = job.result(800, progress=False)
    assert model is not None
    curve = [event["data"] for event in job.events() if event["kind"] == "metric"]
    losses = [point["value"] for point in curve if point["name"] == "loss"]
    assert len(losses) == 60
    assert losses[-1] < losses[0] / 2
    assert job.refresh().metrics["accuracy"] > 0.8
    import numpy as np
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(model.download(tmp_path / "net.onnx")), providers=["CPUExecutionProvider"]
    )
    rows = np.array([[20, 30], [70, 170]], dtype="float32")
    (chances,) = session.run(None, {"features": rows})
    assert chances[0, 0] > 0.5 > chances[1, 0]
