"""Models from the command line: versions, aliases, the trash, predictions in every form."""

import csv
import json

import pytest


@pytest.fixture
def models(daemon, job):
    """Two versions of ``churn``."""
    for _ in range(2):
        daemon.do(daemon.engine.finish(job("--name", "churn")))
    return "churn"


def test_lists_in_every_form(run, models):
    table = run("models", "ls").out.splitlines()
    assert table[0].split("\t")[:3] == ["ID", "NAME", "VERSION"]
    ids = run("models", "versions", models, "-o", "id").out.split()
    assert ids == [one["id"] for one in run("models", "ls", "-o", "json").json()]
    lines = run("models", "ls", "-o", "jsonl", "--limit", 1).out.splitlines()
    assert [json.loads(line)["version"] for line in lines] == [2]
    rows = list(csv.DictReader(run("models", "ls", "-o", "csv").out.splitlines()))
    assert [row["version"] for row in rows] == ["2", "1"]
    assert "xml" in run("models", "ls", "-o", "xml", code=2).err


def test_filters_and_sorts(run, models):
    def versions(*args):
        return [one["version"] for one in run("models", "ls", "--json", *args).json()]

    run("models", "promote", "churn:1")
    assert versions("--alias", "champion") == [1]
    assert versions("--name", "nobody") == []
    assert versions("--sort", "created_at", "--all") == [1, 2]
    assert versions("--task", "binclass") == [2, 1]


def test_promote_roll_back_and_look_at_the_history(run, models):
    planned = run("models", "promote", "churn:1", "--dry-run")
    assert planned.out == "churn@champion would go to version 1.\n"
    assert run("models", "aliases", models, "--json").json() == []
    assert "is version 1" in run("models", "promote", "churn:1", "--reason", "first").err
    run("models", "promote", "churn:2", "--expect", 1, "--reason", "better")
    assert "points at 2" in run("models", "promote", "churn:2", "--expect", 1, code=9).err
    planned = run("models", "rollback", models, "--dry-run").out
    assert planned == "churn@champion would go from version 2 to the version before.\n"
    assert run("models", "rollback", models, "--reason", "worse", "--json").json()["version"] == 1
    assert run("models", "aliases", models).out.splitlines()[1].split("\t")[:2] == ["champion", "1"]
    moves = run("models", "history", models, "--json").json()
    assert {(move["act"], move["reason"]) for move in moves} == {
        ("promote", "first"),
        ("promote", "better"),
        ("rollback", "worse"),
    }
    assert "worse" in run("models", "history", models).out
    assert "nobody" in run("models", "history", models, "--alias", "nobody", code=5).err


def test_an_alias_of_any_name_is_set_and_taken_away(run, models):
    run("models", "alias", "churn:2", "shadow", "--reason", "beside")
    assert run("models", "unalias", models, "shadow", "--dry-run").out.endswith("to nothing.\n")
    assert run("models", "show", "churn@shadow", "--json").json()["version"] == 2
    assert "points nowhere" in run("models", "unalias", models, "shadow").err
    assert "shadow" in run("models", "show", "churn@shadow", code=5).err
    assert "shadow" in run("models", "unalias", models, "shadow", code=5).err


def test_the_trash_and_back(run, models):
    found = run("models", "show", models, "--json").json()["id"]
    assert "would go into the trash" in run("models", "rm", models, "--dry-run").out
    assert len(run("models", "ls", "--json").json()) == 2
    thrown = run("models", "rm", models)
    assert thrown.out.strip() == found
    assert f"trainbox models restore {found}" in thrown.err
    assert run("models", "ls", "--trashed", "-o", "id").out.split() == [found]
    assert "churn:2 is back" in run("models", "restore", found).err
    run("models", "promote", "churn:2")
    assert "champion" in run("models", "rm", "churn:2", code=9).err


ROWS = "age,city,mood\n3.5,Köln,good\n,,\n"


@pytest.mark.parametrize("suffix", ["csv", "json", "jsonl"])
def test_answers_go_to_a_file_in_the_form_of_its_name(run, models, tmp_path, suffix):
    rows, out = tmp_path / "rows.csv", tmp_path / f"out.{suffix}"
    rows.write_text(ROWS)
    refused = run("models", "predict", models, "--rows", rows, "-o", out, code=8)
    assert "mood" in refused.err
    assert not out.exists()
    done = run("models", "predict", models, "--rows", rows, "-o", out, "--ignore-extra")
    assert (done.out.strip(), done.err) == (str(out), "2 rows.\n")
    text = out.read_text()
    answer = {"prediction": "yes", "probabilities": {"yes": 0.75, "no": 0.25}}
    if suffix == "csv":
        assert text.splitlines() == ["prediction,probability_yes,probability_no"] + 2 * [
            "yes,0.75,0.25"
        ]
    elif suffix == "json":
        assert json.loads(text)["rows"] == [answer, answer]
    else:
        assert [json.loads(line) for line in text.splitlines()] == [answer, answer]
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith("part")] == []


def test_a_parquet_answer_is_written_by_the_daemon(run, models, tmp_path):
    out = tmp_path / "out.parquet"
    args = ("models", "predict", models, "--row", "age=1", "--row", "city=x", "-o", out)
    assert run(*args, "--json").json()["rows"] == 1
    assert out.read_text() == "parquet ['prediction', 'probability_yes', 'probability_no']"


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--row", "age=1", "-o", "out.xlsx"), 2, ".parquet"),
        (("--rows", "absent.parquet"), 2, "absent.parquet"),
        (("--row", "age=nan", "--row", "city=x"), 8, "NaN"),
        (("--row", "age=1", "--row", "city=x", "-o", "absent/out.csv"), 2, "absent/out.csv"),
    ],
)
def test_wrong_predictions_are_told_apart(run, models, args, code, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in run("models", "predict", models, *args, code=code).err
    assert list(tmp_path.glob("out*")) == []


def test_text_that_a_spreadsheet_would_run_is_quoted(run, daemon, models, tmp_path, monkeypatch):
    predict = daemon.engine.predict

    async def formula(who, request):
        answer = await predict(who, request)
        answer.rows[0]["prediction"] = "=1+1"
        return answer

    monkeypatch.setattr(daemon.engine, "predict", formula)
    out = tmp_path / "out.csv"
    run("models", "predict", models, "--row", "age=1", "--row", "city=x", "-o", out)
    assert out.read_text().splitlines()[1] == "'=1+1,0.75,0.25"
