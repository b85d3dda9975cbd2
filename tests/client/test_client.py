"""The Python client against a real daemon: blocking, awaiting, through a restart, with bad input."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
import time
from pathlib import Path
from decimal import Decimal

import onnxruntime
import pandas
import polars
import pytest

import trainbox_client
from trainbox_client import (
    AsyncClient,
    Client,
    Conflict,
    JobCancelled,
    JobFailed,
    NotFound,
    Rejected,
    TrainboxError,
    Unauthenticated,
    Unreachable,
    WaitTimeout,
)
from trainbox_client.models import _within
from trainbox_sdk.testing.daemon import DaemonProcess, free_port

from .conftest import QUICK, ROWS, churn_csv, churn_rows

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("client")]


def test_from_a_file_to_predictions(client, model, tmp_path):
    assert model.metrics["accuracy"] > 0.5
    rows = model.predict(ROWS)
    assert [set(row) for row in rows] == [{"prediction", "probabilities"}] * 2
    path = model.download(tmp_path)
    assert path.name == f"churn-v{model.version}.onnx"
    onnxruntime.InferenceSession(path.read_bytes())
    assert [p.name for p in tmp_path.iterdir()] == [path.name], "no half-written file is left"
    assert client.models.get("churn").id == model.id
    assert model.id in [one.id for one in client.models.list()]


async def test_the_same_awaited(daemon, model):
    async with AsyncClient(daemon.url, daemon.token) as client:
        data = await client.datasets.upload(churn_csv(), name="churn", format="csv")
        job = await client.jobs.submit("binclass", dataset=data["id"], params=QUICK)
        made = await job
        assert made.job_id == job.id
        assert (await made.predict(ROWS))[0]["prediction"] in {"yes", "no"}
        kinds = [event["kind"] async for event in job.events()]
        assert "progress" in kinds
        assert (await job.metric_history())[0]["name"]
        assert (await client.models.get(model.id)).digest == model.digest
        with pytest.raises(NotFound, match="job_nope"):
            await client.jobs.get("job_nope")


async def test_one_handle_of_a_blocking_client_can_be_awaited(client, dataset, daemon):
    job = await asyncio.to_thread(client.jobs.submit, "binclass", dataset=dataset, params=QUICK)
    made = await job
    await client.transport.aclose()
    assert made.job_id == job.id
    assert (await asyncio.to_thread(job.result)).id == made.id


@pytest.mark.parametrize("library", [pandas, polars], ids=["pandas", "polars"])
def test_frames_in_and_frames_of_the_same_library_out(client, model, library):
    frame = library.DataFrame(ROWS)
    out = model.predict(frame)
    assert type(out) is type(frame)
    assert list(out.columns) == ["prediction", "probability_no", "probability_yes"]
    assert list(out["prediction"]) == [row["prediction"] for row in model.predict(ROWS)]


def test_a_polars_frame_becomes_a_dataset(client):
    data = client.datasets.upload(polars.DataFrame(list(churn_rows(50))), name="from polars")
    assert (data.rows, data.source_format) == (50, "parquet")


def test_what_the_daemon_refuses_says_where_and_how(client, dataset):
    with pytest.raises(Rejected) as refused:
        client.jobs.submit("binclass", dataset=dataset, params={"target": "churn"})
    assert refused.value.errors[0].loc[-1] == "target"
    assert "churned" in str(refused.value)
    assert refused.value.request_id in str(refused.value)
    with pytest.raises(Rejected, match=r"(?s)age.*spend"):
        client.models.predict("churn", [{"plan": "free"}])
    with pytest.raises(Rejected) as bad:
        client.datasets.upload(b"a,b\n1,2,3\n", format="csv")
    assert bad.value.errors


def test_a_failed_job_raises_with_its_reason_and_the_end_of_its_log(client, dataset):
    tight = {"memory_bytes": 64 * 2**20}
    job = client.jobs.submit("binclass", dataset=dataset, params=QUICK, resources=tight)
    with pytest.raises(JobFailed) as failed:
        job.result(timeout=120)
    assert failed.value.reason_code in str(failed.value)
    assert failed.value.job["state"] == "failed"
    assert job.ended
    lines = job.log_lines(limit=3, tail=True, level="debug", text="")
    assert [line["message"] for line in lines] == job.logs().splitlines()[-3:]


def test_patience_and_cancelling(client, dataset):
    slow = {**QUICK, "trials": 200, "max_iterations": 2000}
    job = client.jobs.submit("binclass", dataset=dataset, params=slow)
    with pytest.raises(WaitTimeout, match="goes on"):
        job.result(timeout=1)
    assert not job.refresh().ended
    job.cancel()
    with pytest.raises(JobCancelled):
        job.result(timeout=60)
    with pytest.raises(TrainboxError, match="give seconds"):
        job.wait(timeout=float("nan"))


def test_a_result_is_waited_for_through_a_kill_of_the_daemon(tmp_path):
    with DaemonProcess(tmp_path / "state", env={"TRAINBOX_BACKEND": "process"}) as daemon:
        with Client(daemon.url, daemon.token) as client:
            params = {**QUICK, "trials": 8, "max_iterations": 400}
            data = client.datasets.upload(churn_csv(rows=2000), name="churn", format="csv")
            job = client.jobs.submit("binclass", dataset=data, params=params)
            seen = []

            def read():
                seen.extend(event["seq"] for event in job.events())

            reader = threading.Thread(target=read)
            reader.start()
            while not any(event["kind"] == "progress" for event in daemon.events(job.id)):
                time.sleep(0.05)
            daemon.kill()
            daemon.start()
            model = job.result(timeout=200)
            reader.join(60)
            assert model.job_id == job.id
            assert seen == sorted(set(seen)) == [event["seq"] for event in daemon.events(job.id)]


def test_cells_of_every_kind(client, model):
    plain, whole = model.predict([{**ROWS[0], "age": 41.5}]), model.predict(ROWS[0])
    assert model.predict([{**ROWS[0], "age": Decimal("41.5")}]) == plain
    gap = model.predict([{**ROWS[0], "age": None}])
    for missing in (float("nan"), pandas.NA, pandas.NaT):
        assert model.predict([{**ROWS[0], "age": missing}]) == gap
    assert whole
    for endless in (float("inf"), Decimal("-Infinity")):
        with pytest.raises(TrainboxError, match="infinite"):
            model.predict([{**ROWS[0], "age": endless}])


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_would_lead_elsewhere(client, name):
    for get in (client.datasets.get, client.jobs.get, client.models.get):
        with pytest.raises(TrainboxError, match="no id and no name"):
            get(name)


@pytest.mark.parametrize(
    ("url", "token", "words"),
    [
        ("http://[::1", "x", "not a URL"),
        ("http://h:99999", "x", "not a URL"),
        ("http://h", "two\nlines", "token"),
        ("http://h", "tëst", "token"),
    ],
)
def test_what_no_client_can_be(url, token, words):
    with pytest.raises(TrainboxError, match=words):
        Client(url, token)


def test_nobody_answers_and_nobody_knows_me(daemon):
    with Client(f"http://127.0.0.1:{free_port()}", "x") as nobody:
        with pytest.raises(Unreachable, match="trainbox serve"):
            nobody.jobs.submit("binclass", idempotency_key=None)
    with Client(daemon.url, "wrong") as stranger, pytest.raises(Unauthenticated):
        stranger.jobs.list()


def test_a_lost_answer_is_asked_for_again_and_makes_one_job(client, dataset, monkeypatch):
    """The connection breaks after the daemon took the job: the second try is the same job."""
    real, sent = client.transport.blocking.request, []

    def lossy(method, path, **options):
        response = real(method, path, **options)
        sent.append((method, response.json()["id"]))
        if len(sent) == 1:
            import httpx2

            raise httpx2.ReadError("cut")
        return response

    monkeypatch.setattr(client.transport.blocking, "request", lossy)
    job = client.jobs.submit("binclass", dataset=dataset, params=QUICK)
    assert [one for _, one in sent] == [job.id, job.id]
    monkeypatch.undo()
    job.cancel()


@pytest.mark.parametrize(
    ("data", "format", "words"),
    [
        ("no/such.csv", None, "cannot read no/such.csv"),
        (b"a\n1\n", None, "pass format="),
        (17, None, "cannot read data from int"),
        ("README.md", None, "pass format="),
    ],
    ids=["no file", "bytes without format", "a number", "unknown suffix"],
)
def test_data_that_is_none(client, data, format, words):
    with pytest.raises(TrainboxError, match=words):
        client.datasets.upload(data, format=format)


def test_no_token_anywhere(monkeypatch, tmp_path):
    for name in ("TRAINBOX_TOKEN", "TRAINBOX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TRAINBOX_STATE_DIR", str(tmp_path))
    with pytest.raises(TrainboxError, match="TRAINBOX_TOKEN"):
        Client()
    with pytest.raises(TrainboxError, match="http://host:port"):
        Client("localhost:8422", "x")


def test_the_client_brings_nothing_of_the_daemon_along():
    code = (
        "import sys, trainbox_client; print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'trainbox', 'trainbox_sdk', 'trainbox_plugins', 'aiohttp', 'pydantic', 'sqlalchemy',"
        " 'duckdb', 'numpy', 'pandas', 'polars', 'rich', 'IPython'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert trainbox_client.__all__ == sorted(trainbox_client.__all__)


def big_csv(rows):
    return b"number,text\n" + b"".join(b"%d,%s\n" % (n, b"x" * 90) for n in range(rows))


def test_large_data_goes_in_pieces_and_on_after_a_break(client, tmp_path, monkeypatch):
    """The connection breaks in the middle of a piece; the daemon says how far it got."""
    path = tmp_path / "big.csv"
    path.write_bytes(big_csv(200_000))
    real, patches = client.transport.blocking.request, []

    def lossy(method, url, **options):
        if method == "PATCH":
            patches.append(options["headers"]["Upload-Offset"])
            if len(patches) == 2:
                import httpx2

                raise httpx2.WriteError("cut")
        return real(method, url, **options)

    monkeypatch.setattr(client.transport.blocking, "request", lossy)
    data = client.datasets.upload(path)
    assert (data.name, data.rows) == ("big", 200_000)
    assert patches == ["0", "8388608", "8388608", "16777216"]


def test_large_data_that_cannot_be_read_says_where(client, tmp_path):
    path = tmp_path / "bad.csv"
    path.write_bytes(big_csv(200_000) + b"1,2,3\n")
    with pytest.raises(Rejected) as refused:
        client.datasets.upload(path)
    assert "200002" in str(refused.value) or "200001" in str(refused.value)


def test_the_python_text_of_a_reproduction_runs(client, dataset, daemon, monkeypatch):
    job = client.jobs.submit("binclass", dataset=dataset, params=QUICK, name="again")
    script = client.jobs.reproduce(job.id).python
    monkeypatch.setenv("TRAINBOX_TOKEN", daemon.token)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    repeated = client.jobs.get(done.stdout.strip())
    assert repeated.id != job.id
    assert (repeated.params, repeated.dataset_id) == (job.params, job.dataset_id)
    assert repeated.resources == job.resources
    compared = client.jobs.compare([job, repeated])
    assert compared
    for one in (job, repeated):
        one.cancel()


def test_promote_roll_back_and_take_away(client, dataset, model, tmp_path):
    params = {**QUICK, "max_iterations": 41}
    second = client.jobs.submit("binclass", dataset=dataset, params=params, name="churn").result()
    assert second.version > model.version
    first = client.models.promote("churn", model.version, reason="the first")
    assert (first.id, first.aliases) == (model.id, ["champion"])
    assert client.models.promote("churn", second.version, reason="better").id == second.id
    assert client.models.get("churn@champion").id == second.id
    assert client.models.rollback("churn", reason="worse at night").id == model.id
    folder = first.download_directory(tmp_path / "churn")
    assert {"model.onnx", "MLmodel", "card.md", "sbom.cdx.json"} <= {
        path.name for path in folder.rglob("*") if path.is_file()
    }
    assert not list(folder.rglob("*.part"))
    with pytest.raises(Conflict, match="champion"):
        client.models.delete(first.id)


def test_files_that_would_lie_elsewhere_are_refused(tmp_path):
    for name in ("../x", "/etc/x", "", "a/../../x"):
        with pytest.raises(TrainboxError, match="elsewhere"):
            _within(tmp_path, name)


@pytest.mark.parametrize("page", ["README.md", "docs/client.md"])
def test_the_example_of_a_page_runs_as_printed(page, daemon, tmp_path, monkeypatch):
    root = Path(__file__).parents[2]
    (code,) = re.findall(
        r"```python\n(from trainbox_client.*?)```", (root / page).read_text(), re.S
    )
    table = root / "daemon" / "trainbox" / "data" / "customers.csv"
    (tmp_path / "customers.csv").write_bytes(table.read_bytes())
    monkeypatch.setenv("TRAINBOX_URL", daemon.url)
    monkeypatch.setenv("TRAINBOX_TOKEN", daemon.token)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert "accuracy" in done.stdout and done.stdout.count("'prediction'") == 3
    assert (tmp_path / "churn.onnx").stat().st_size > 1000
