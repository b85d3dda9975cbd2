"""Scripts in real containers without network: every runtime, training, endings, files."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from trainbox_client import Client, JobFailed, Rejected
from trainbox_sdk.testing.daemon import DaemonProcess

pytestmark = pytest.mark.docker

DOCS = Path(__file__).parents[2] / "docs" / "custom-scripts.md"
EXAMPLES = Path(__file__).parents[2] / "examples"
COMMAND = re.compile(r"^\$ (trainbox run .*)$", re.MULTILINE)
SMALL = {"cpus": 0.5, "memory_bytes": 1024**3}
FILE = re.compile(r"<!-- example: file (\S+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write(folder: Path, **texts: str) -> dict[str, Path]:
    paths = {}
    for stem, text in texts.items():
        path = folder / stem.replace("__", ".")
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        paths[stem] = path
    return paths


def run(client: Client, folder: Path, source: str, **options: Any) -> Any:
    """Run a script to its end; returns its job."""
    script = write(folder, train__py=source)["train__py"]
    job = client.run_script(script, **{"resources": SMALL, **options})
    return job.wait(240, progress=False)


def log_of(job: Any) -> str:
    return job.logs().decode() if isinstance(job.logs(), bytes) else job.logs()


def events(job: Any, kind: str) -> list[dict[str, Any]]:
    return [event["data"] for event in job.events() if event["kind"] == kind]


NUMPY = """
import json, multiprocessing, os, sys
import numpy as np
import pandas as pd

print(sys.version)

def halve(number):
    return number / 2

if __name__ == "__main__":
    rows = pd.read_parquet(os.environ["DATASET_PATH"])
    x = rows[["age", "spend"]].to_numpy(float)
    x = np.c_[(x - x.mean(0)) / x.std(0), np.ones(len(x))]
    y = (rows["churned"] == "yes").to_numpy(float)
    w = np.zeros(3)
    for epoch in range(20):
        p = 1 / (1 + np.exp(-x @ w))
        loss = float(-np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)))
        print(json.dumps({"metric": {"loss": loss}, "epoch": epoch, "total_epochs": 20}))
        w -= x.T @ (p - y) / len(y)
    with multiprocessing.get_context("forkserver").Pool(1) as pool:
        assert pool.map(halve, [4]) == [2]
    np.save(open(os.environ["MODEL_OUTPUT_PATH"], "wb"), w)
"""


@pytest.mark.parametrize("version", ["3.10", "3.11", "3.12"])
def test_every_runtime_trains(client: Client, customers: str, tmp_path: Path, version: str) -> None:
    job = run(client, tmp_path, NUMPY, runtime=f"python{version}", dataset=customers)
    assert job.state == "succeeded", (job.reason, log_of(job))
    assert log_of(job).startswith(f"{version}.")
    curve = events(job, "metric")
    assert [point["epoch"] for point in curve] == list(range(20))
    losses = [point["value"] for point in curve]
    assert losses == sorted(losses, reverse=True)
    assert job.metrics == {"loss": losses[-1]}
    (artifact,) = job.artifacts()
    assert (artifact.name, artifact.kind) == ("model", "model")
    assert job.model_id


def test_the_documents_command_trains_and_predicts(
    daemon: DaemonProcess, client: Client, tmp_path: Path
) -> None:
    """The page's first command, with the page's files: what it leaves is there and predicts."""
    page = DOCS.read_text(encoding="utf-8")
    for name, text in FILE.findall(page):
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copy(EXAMPLES / "churn.csv", tmp_path)
    program, *words = shlex.split(COMMAND.findall(page)[0])
    assert program == "trainbox"
    done = subprocess.run(
        [sys.executable, "-m", "trainbox", *words, *("--cpus", "0.5", "--memory", "1GiB")],
        cwd=tmp_path,
        env={**os.environ, "TRAINBOX_URL": daemon.url, "TRAINBOX_TOKEN": daemon.token},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert (done.returncode, done.stdout) == (0, "churn\n"), done.stderr
    (job, *_) = client.jobs.list()
    losses = [event["value"] for event in events(job, "metric")]
    assert len(losses) == 25
    assert losses[-1] < losses[0]
    (graph,) = (tmp_path / "churn").iterdir()
    import onnxruntime

    session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
    labels, chances = session.run(None, {"X": [[20.0, 30.0], [70.0, 170.0]]})
    assert list(labels) == ["yes", "no"]
    assert chances[0][1] > 0.8 > 0.2 > chances[1][1]


def test_a_directory_of_a_pickle_and_a_graph_has_the_graph_for_its_model(
    client: Client, customers: str, tmp_path: Path
) -> None:
    write(tmp_path, requirements__txt="skl2onnx>=1.19\n")
    job = run(
        client,
        tmp_path,
        """
        import os, joblib, pandas as pd
        from skl2onnx import to_onnx
        from sklearn.linear_model import LinearRegression
        rows = pd.read_parquet(os.environ["DATASET_PATH"])
        x, y = rows[["age"]].to_numpy("float32"), rows["spend"].to_numpy()
        model = LinearRegression().fit(x, y)
        out = os.environ["MODEL_OUTPUT_PATH"]
        os.makedirs(out + "/native")
        joblib.dump(model, out + "/native/model.joblib")
        open(out + "/model.onnx", "wb").write(to_onnx(model, x[:1]).SerializeToString())
        """,
        dataset=customers,
        requirements=tmp_path / "requirements.txt",
    )
    assert job.state == "succeeded", (job.reason, log_of(job))
    kinds = {each.name: each.kind for each in job.artifacts()}
    assert kinds == {"model/model.onnx": "model", "model/native/model.joblib": "file"}
    shown = client.models.get(job.model_id)
    assert [each["name"] for each in shown.signature["inputs"]] == ["X"]
    folder = shown.download_directory(tmp_path / "directory")
    bill = json.loads((folder / "sbom.cdx.json").read_text())
    assert "skl2onnx" in {part["name"] for part in bill["components"]}, "what it truly ran in"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_data_in_the_form_asked_for(
    client: Client, customers: str, tmp_path: Path, form: str
) -> None:
    job = run(
        client,
        tmp_path,
        """
        import csv, json, os
        path = os.environ["DATASET_PATH"]
        with open(path, encoding="utf-8", newline="") as file:
            csv_ = path.endswith(".csv")
            rows = list(csv.DictReader(file) if csv_ else map(json.loads, file))
        assert os.stat(path).st_mode & 0o777 == 0o444
        print(os.path.basename(path), len(rows), json.dumps(rows[0]), json.dumps(rows[1]["note"]))
        """,
        dataset=customers,
        dataset_format=form,
    )
    assert job.state == "succeeded", (job.reason, log_of(job))
    name, count, first, second = re.fullmatch(r"(\S+) (\d+) (\{.*\}) (\S+)\n", log_of(job)).groups()  # type: ignore[union-attr]
    assert (name, count) == (f"dataset.{form}", "120")
    row = json.loads(first)
    assert row["note"] == 'Łódź, "quoted"'
    assert float(row["age"]) == 18
    assert row["since"].startswith("2024-01-01")
    assert json.loads(second) == ("" if form == "csv" else None)


def test_exit_0_without_a_model_succeeds_and_says_so(client: Client, tmp_path: Path) -> None:
    job = run(client, tmp_path, "print('nothing kept')")
    assert (job.state, job.model_id) == ("succeeded", None)
    assert job.artifacts() == []
    warned = [each["text"] for each in events(job, "message") if each.get("level") == "warning"]
    assert any("MODEL_OUTPUT_PATH" in text for text in warned)


def test_failures_say_why(client: Client, tmp_path: Path) -> None:
    with pytest.raises(JobFailed) as caught:
        run(client, tmp_path, "import helper\nhelper.f()").result(60, progress=False)
    assert caught.value.reason_code == "exception"
    assert "ModuleNotFoundError: No module named 'helper' (train.py, line 1)" in caught.value.reason
    assert "requirements" in caught.value.reason
    job = run(client, tmp_path, "import sys\nsys.exit(3)")
    assert (job.state, job.reason_code) == ("failed", "exit_3")


def test_what_is_left_is_kept_as_it_was_when_the_asset_is_gone(
    client: Client, tmp_path: Path
) -> None:
    """The bytes at the time of submission run, whatever becomes of the asset."""
    script = client.assets.upload(b"print(open('note.txt').read())", kind="script", filename="a.py")
    note = client.assets.upload(b"first", kind="config", filename="note.txt")
    uses = [
        {"asset": script.id, "name": "a.py", "kind": "script"},
        {"asset": note.id, "name": "note.txt", "kind": "config"},
    ]
    job = client.jobs.submit(
        "custom_script", params={"entry_point": "a.py", "assets": uses}, resources=SMALL
    )
    for asset in (script, note):
        client.assets.delete(asset.id)
    assert job.wait(120, progress=False).state == "succeeded", job.reason
    assert log_of(job) == "first\n"
    with pytest.raises(Rejected) as caught:
        client.jobs.submit("custom_script", params={"entry_point": "a.py", "assets": uses})
    assert "asset" in str(caught.value)


def test_inputs_cannot_be_written(client: Client, tmp_path: Path) -> None:
    job = run(
        client,
        tmp_path,
        """
        import errno, os
        for path in (__file__, "train.py", os.path.dirname(__file__) + "/new"):
            try:
                open(path, "w")
            except OSError as error:
                print(errno.errorcode[error.errno])
        """,
    )
    assert set(log_of(job).split()) <= {"EROFS", "EACCES"}
    assert len(log_of(job).split()) == 3
