"""A script in the sandbox is what ``python train.py`` would be: the differences are pinned here."""

from __future__ import annotations

import json

import pytest
from script_runs import Play

from trainbox_sdk.testing.guest_runs import GuestRun


def warnings(run: GuestRun) -> list[str]:
    return [e["text"] for e in run.events if e["t"] == "message" and e["level"] == "warning"]


def test_what_a_script_sees_of_itself(play: Play) -> None:
    run = play(
        """
        import json, os, sys
        print(json.dumps({
            "name": __name__, "file": __file__, "argv": sys.argv, "path": sys.path[0],
            "main": sys.modules["__main__"].__dict__ is globals(), "spec": __spec__,
            "cwd": os.getcwd(), "doc": __doc__, "annotations": __annotations__,
            "dunders": sorted(name for name in globals() if name.startswith("__")),
        }))
        number: int = 1
        """,
        arguments=["--epochs", "3"],
    )
    assert run.exit_code == 0, run.log
    seen = json.loads(run.log)
    inputs = str(run.output.parent / "inputs")
    assert seen["name"] == "__main__"
    assert seen["file"] == f"{inputs}/train.py"
    assert seen["argv"] == [seen["file"], "--epochs", "3"]
    assert seen["path"] == inputs
    assert seen["main"] is True
    assert seen["spec"] is None
    assert seen["cwd"] == str(run.output.parent / "scratch" / "work")
    assert seen["doc"] is None
    assert seen["dunders"] == [
        "__annotations__", "__builtins__", "__cached__", "__doc__", "__file__", "__loader__",
        "__name__", "__package__", "__spec__",
    ]  # fmt: skip


def test_files_lie_beside_it_and_it_may_write_where_it_is(play: Play) -> None:
    run = play(
        """
        import json, pathlib
        import helper
        assert json.load(open("config.json")) == {"a": 1}
        assert json.loads((pathlib.Path(__file__).parent / "config.json").read_text()) == {"a": 1}
        open("checkpoint.bin", "wb").write(b"x")
        print(helper.ANSWER)
        """,
        files={"config.json": '{"a": 1}', "helper.py": "ANSWER = 42\n"},
    )
    assert (run.exit_code, run.log) == (0, "42\n")


def test_contract_variables_and_its_own(play: Play) -> None:
    run = play(
        """
        import os
        path = os.environ["MODEL_OUTPUT_PATH"]
        assert not os.path.exists(path)
        assert "DATASET_PATH" not in os.environ
        open(path, "w").write("weights")
        print(os.environ["LEARNING_RATE"], os.environ["ODD"] == "a\\nb=c")
        """,
        environment_vars={"LEARNING_RATE": "0.001", "ODD": "a\nb=c"},
    )
    assert (run.exit_code, run.log) == (0, "0.001 True\n")
    assert run.files == ("model", "result.json")
    assert warnings(run) == []


@pytest.mark.parametrize(
    ("ending", "code", "log"),
    [
        ("", 0, ""),
        ("sys.exit()", 0, ""),
        ("sys.exit(0)", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('no data')", 1, "no data\n"),
        ("import os; os._exit(4)", 4, ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -15, ""),
    ],
)
def test_its_exit_code_is_its_own(play: Play, ending: str, code: int, log: str) -> None:
    run = play(f"import sys\n{ending}\n")
    assert (run.exit_code, run.log) == (code, log)
    assert run.failures == []


def test_an_exception_is_told_as_python_tells_it(play: Play) -> None:
    run = play(
        """
        import helper

        def train():
            helper.divide(1, 0)

        train()
        """,
        files={"helper.py": "def divide(a, b):\n    return a / b\n"},
    )
    assert run.exit_code == 1
    lines = run.log.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.split('"')[1].rpartition("/")[2] for line in lines if "File" in line] == [
        "train.py", "train.py", "helper.py",
    ]  # fmt: skip
    assert lines[-1] == "ZeroDivisionError: division by zero"
    (failure,) = run.failures
    assert failure["code"] == "exception"
    assert failure["message"] == "ZeroDivisionError: division by zero (helper.py, line 2)"


def test_a_mistake_in_its_syntax_shows_where(play: Play) -> None:
    run = play("def f(:\n    pass\n")
    assert run.exit_code == 1
    assert 'train.py", line 1' in run.log
    assert "trainbox" not in run.log.replace(str(run.output.parent), "")
    assert run.failures[0]["message"].startswith("SyntaxError: ")


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("import no_such_package", "requirements"),
        ("import os; open(os.environ['MODEL_OUTPUT_PATH'] + '/model.pkl', 'w')", "os.makedirs"),
        ("raise MemoryError", "more memory"),
    ],
)
def test_frequent_mistakes_come_with_a_hint(play: Play, source: str, hint: str) -> None:
    run = play(source)
    assert run.exit_code == 1
    assert hint in run.failures[0]["hint"]


def test_its_own_hook_and_its_handlers_at_exit_run(play: Play) -> None:
    run = play(
        """
        import atexit, sys
        word = "bye"
        atexit.register(lambda: print(word))
        sys.excepthook = lambda kind, error, trace: print("hook", error, trace.tb_lineno)
        raise ValueError("bad")
        """
    )
    assert (run.exit_code, run.log) == (1, "hook bad 6\nbye\n")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_of_its_own(play: Play, method: str) -> None:
    run = play(
        f"""
        import multiprocessing

        class Pair:
            def __init__(self, a):
                self.a = a

        def double(pair):
            return Pair(pair.a * 2)

        if __name__ == "__main__":
            with multiprocessing.get_context("{method}").Pool(2) as pool:
                print([pair.a for pair in pool.map(double, [Pair(1), Pair(2)])])
        """
    )
    assert (run.exit_code, run.log) == (0, "[2, 4]\n")


def test_programs_it_starts_find_modules_beside_them(play: Play) -> None:
    run = play(
        """
        import subprocess, sys
        subprocess.run([sys.executable, "other.py"], check=True)
        """,
        files={
            "other.py": "import helper\nfrom trainbox_guest import report\n"
            "report.metrics(loss=helper.ANSWER)\n",
            "helper.py": "ANSWER = 42\n",
        },
    )
    assert run.exit_code == 0, run.log
    assert [(e["name"], e["value"]) for e in run.events if e["t"] == "metric"] == [("loss", 42.0)]


def test_pickles_name_its_classes_as_main(play: Play) -> None:
    run = play(
        """
        import pickle
        class Model: ...
        data = pickle.dumps(Model())
        assert b"__main__" in data
        assert type(pickle.loads(data)) is Model
        """
    )
    assert run.exit_code == 0, run.log


def test_ending_well_without_a_model_is_told(play: Play) -> None:
    run = play("print('done')")
    assert run.exit_code == 0
    (text,) = warnings(run)
    assert "MODEL_OUTPUT_PATH" in text


def test_a_retry_starts_in_an_empty_directory_and_keeps_what_is_for_it(play: Play) -> None:
    source = """
        import os, pathlib
        print(sorted(os.listdir()), os.path.exists(os.environ["TRAINBOX_SCRATCH"] + "/kept"))
        pathlib.Path("left").mkdir()
        """
    run = play(source)
    assert run.log == "['train.py'] False\n"
    from trainbox_plugins.custom_script.guest import workplace

    scratch = run.output.parent / "scratch"
    (scratch / "kept").touch()
    import os

    here = os.getcwd()
    try:
        work = workplace.enter(scratch, run.output.parent / "inputs", ["train.py"])
        assert sorted(path.name for path in work.iterdir()) == ["train.py"]
        assert (scratch / "kept").exists()
    finally:
        os.chdir(here)


def test_a_script_that_closes_everything_still_ends_well(play: Play) -> None:
    run = play(
        """
        import os
        print("before")
        os.closerange(3, 256)
        print('{"metric": {"loss": 1}}')
        """
    )
    assert run.exit_code == 0, run.log
    assert "before" in run.log
