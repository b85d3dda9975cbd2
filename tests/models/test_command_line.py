"""The command line against a daemon with trained models: what the fast tests take from a fake."""

import csv
import hashlib
import json
from types import SimpleNamespace

import polars
import pytest
from click.testing import CliRunner

from trainbox.cli.root import cli

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("models")]

ROWS = "age,plan,city,active,signed_up,note\n31,pro,Zürich,true,2024-02-29,x\n,,,,,\n"


@pytest.fixture
def run(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = {
        "TRAINBOX_URL": trained.daemon.url,
        "TRAINBOX_TOKEN": trained.daemon.token,
        "TRAINBOX_STATE_DIR": str(trained.daemon.state_dir),
    }

    def call(*args, code=0):
        result = CliRunner().invoke(cli, [str(arg) for arg in args], env=env)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return SimpleNamespace(
            out=result.stdout, err=result.stderr, json=lambda: json.loads(result.stdout)
        )

    return call


def test_a_whole_directory_is_pulled_and_is_what_its_manifest_says(run, trained, tmp_path):
    model = trained.models[0]
    folder = tmp_path / run("models", "pull", model["id"], "--all").out.strip()
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, one in manifest["files"].items():
        found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        assert found == one["sha256"].removeprefix("sha256:")
    assert (folder / "MLmodel").is_file()
    card = run("models", "card", model["id"]).out
    assert card.rstrip("\n") == (folder / "card.md").read_text().rstrip("\n")


def test_predictions_in_every_form_are_the_same(run, trained, tmp_path):
    (tmp_path / "rows.csv").write_text(ROWS)
    name = trained.models[1]["id"]
    args = ("models", "predict", name, "--rows", "rows.csv", "--ignore-extra")
    answers = [json.loads(line) for line in run(*args).out.splitlines()]
    assert len(answers) == 2
    run(*args, "-o", "out.csv")
    run(*args, "-o", "out.parquet")
    run(*args, "-o", "out.arrow")
    table = polars.read_parquet("out.parquet").to_dicts()
    assert polars.read_ipc_stream("out.arrow").to_dicts() == table
    with open("out.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for answer, row, cells in zip(answers, table, rows, strict=True):
        assert row["prediction"] == cells["prediction"] == answer["prediction"]
        for label, probability in answer["probabilities"].items():
            assert row[f"probability_{label}"] == pytest.approx(probability)
            assert float(cells[f"probability_{label}"]) == pytest.approx(probability)


def test_rows_of_a_parquet_file(run, trained, tmp_path):
    first = {"age": 31.0, "plan": "pro", "city": "Łódź", "active": True, "signed_up": "2024-02-29"}
    polars.DataFrame([first, first]).write_parquet(tmp_path / "rows.parquet")
    name = trained.models[1]["id"]
    lines = run("models", "predict", name, "--rows", "rows.parquet").out.splitlines()
    pairs = [part for key, value in first.items() for part in ("--row", f"{key}={value}")]
    assert lines == [run("models", "predict", name, *pairs).out.strip()] * 2
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not")
    refused = run("models", "predict", name, "--rows", "broken.parquet", code=8)
    assert "Parquet" in refused.err


def test_promote_and_roll_back_for_real(run, trained):
    one, two = (model["id"] for model in trained.models)
    alias = ("--alias", "typed")
    run("models", "promote", one, *alias, "--reason", "first")
    run("models", "promote", two, *alias)
    assert run("models", "rollback", trained.name, *alias, "--json").json()["model_id"] == one
    assert "typed" in run("models", "rm", one, code=9).err
    history = run("models", "history", trained.name, *alias, "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["act"] for line in history] == ["rollback", "promote", "promote"]
    run("models", "unalias", trained.name, "typed")


def test_the_daemon_answers_operators(run, trained):
    assert run("tokens", "whoami", "--json").json()["source"] == "first"
    made = run("tokens", "create", "reader", "--scope", "read", "--expires", "1h", "--json").json()
    assert run("models", "ls", "--token", made["token"], "--json").json() == []
    run("tokens", "revoke", made["id"], "--yes")
    assert run("models", "ls", "--token", made["token"], code=6).out == ""
    acts = run("admin", "audit", "--object", made["id"], "-o", "jsonl").out.splitlines()
    assert {json.loads(act)["act"] for act in acts} == {"token.create", "token.revoke"}
    assert run("admin", "audit", "--verify", "--json").json()["ok"] is True
    assert run("admin", "drain", "--wait", "--json").json()["draining"] is True
    assert run("admin", "undrain", "--json").json()["draining"] is False
    refused = run("webhooks", "add", "http://127.0.0.1:9/h", code=8)
    assert "TRAINBOX_WEBHOOK_ALLOWED" in refused.err
    assert run("admin", "openapi").json() == trained.daemon.call("GET", "/openapi.json")
    assert {one["status"] for one in run("plugins", "ls", "--json").json()} == {"loaded"}
