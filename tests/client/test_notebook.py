"""In a real kernel: a bar that moves while a job trains, and handles that show themselves."""

from __future__ import annotations

import nbformat
import pytest
from nbclient import NotebookClient

from trainbox_client.documents import Dataset
from trainbox_client.progress import bar

from .conftest import QUICK

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("client")]

CELLS = (
    "import os\nfrom trainbox_client import Client\n"
    "client = Client(os.environ['URL'], os.environ['TOKEN'])",
    f"job = client.jobs.submit('binclass', dataset='churn', params={QUICK!r})\njob.wait()",
    "model = await job\nmodel",
)


@pytest.mark.filterwarnings("default")  # of Jupyter's own packages
def test_a_notebook_shows_a_bar_and_tables(daemon, dataset, monkeypatch):
    monkeypatch.setenv("URL", daemon.url)
    monkeypatch.setenv("TOKEN", daemon.token)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in CELLS])
    NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
    shown = [
        output["data"]["text/html"]
        for cell in notebook.cells
        for output in cell.outputs
        if "text/html" in output.get("data", {})
    ]
    assert "<progress max='1' value='1.0000'" in shown[0]
    assert "<caption>Job</caption>" in shown[1]
    assert "accuracy" in shown[2]


def test_what_is_shown_is_escaped():
    evil = "<script>alert(1)</script>"
    assert "<script>" not in Dataset({"id": evil, "name": evil})._repr_html_()
    assert "<script>" not in bar(evil, 0.5, evil)
