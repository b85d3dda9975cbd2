"""Venvs from a lock: built once, complete or absent, compiled, nothing of the installer inside."""

from __future__ import annotations

import importlib.util
import marshal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import CodeType

import pytest

from trainbox_plugins.environments.testing import MODULE, tiny_environment
from trainbox_plugins.environments.wheelhouse import Wheelhouse
from trainbox_plugins.process_backend import interpreters
from trainbox_plugins.process_backend.venvs import Venvs, python_of, read_record
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import BackendRejected


def quiet(fraction: float, sentence: str) -> None:
    del fraction, sentence


@pytest.fixture
def tiny(tmp_path: Path) -> Environment:
    (tmp_path / "offered").mkdir()
    return tiny_environment(tmp_path / "offered")


@pytest.fixture
def venvs(tmp_path: Path, tiny: Environment) -> Venvs:
    return Venvs(tmp_path / "venvs", Wheelhouse(tmp_path / "wheels", tiny.requirements.parent), {})


def test_built_venv_imports_the_locked_package_and_carries_no_installer(
    venvs: Venvs, tiny: Environment
) -> None:
    built = venvs.build(tiny, quiet)
    assert (built.name, built.backend, built.digest) == ("tiny", "process", tiny.digest)
    code = f"import {MODULE}; print({MODULE}.ANSWER)"
    command = [python_of(Path(built.reference)), "-I", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "42\n"
    names = {path.name for path in Path(built.reference).rglob("*")}
    assert "pip" not in names
    assert [item.reference for item in venvs.built()] == [built.reference]


def test_everything_is_compiled_for_its_final_place(venvs: Venvs, tiny: Environment) -> None:
    built = Path(venvs.build(tiny, quiet).reference)
    sources = list((built / "lib").rglob("*.py"))
    assert sources
    for source in sources:
        compiled = Path(importlib.util.cache_from_source(str(source)))
        raw = compiled.read_bytes()
        assert int.from_bytes(raw[4:8], "little") == 0b01, "unchecked hash (PEP 552)"
        code = marshal.loads(raw[16:])
        assert isinstance(code, CodeType)
        assert code.co_filename == str(source)


def test_same_digest_is_not_built_again(venvs: Venvs, tiny: Environment) -> None:
    first = venvs.build(tiny, quiet)
    told: list[str] = []
    assert venvs.build(tiny, lambda fraction, sentence: told.append(sentence)) == first
    assert told == ["tiny is ready"]


def test_builders_at_the_same_time_build_once(venvs: Venvs, tiny: Environment) -> None:
    told: list[str] = []

    def build() -> None:
        venvs.build(tiny, lambda fraction, sentence: told.append(sentence))

    threads = [threading.Thread(target=build) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count("compiling bytecode") == 1
    assert told.count("tiny is ready") == 3


def test_half_a_venv_of_a_crash_is_made_anew(
    venvs: Venvs, tiny: Environment, tmp_path: Path
) -> None:
    left = tmp_path / "venvs" / f"tiny-{tiny.digest[:12]}"
    (left / "bin").mkdir(parents=True)
    (left / "bin/python").write_text("half")
    assert list(venvs.built()) == []
    built = venvs.build(tiny, quiet)
    assert built.reference == str(left)
    assert read_record(left) is not None


def test_venv_whose_python_was_uninstalled_is_no_venv(venvs: Venvs, tiny: Environment) -> None:
    built = Path(venvs.build(tiny, quiet).reference)
    for link in (built / "bin").glob("python*"):
        link.unlink()
    assert read_record(built) is None
    assert venvs.build(tiny, quiet).reference == str(built)


def test_packages_that_do_not_import_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    bad = tiny_environment(tmp_path / "bad", source="raise RuntimeError('no such CPU')\n")
    venvs = Venvs(tmp_path / "venvs", Wheelhouse(tmp_path / "wheels", tmp_path / "bad"), {})
    with pytest.raises(BackendRejected, match="no such CPU") as caught:
        venvs.build(bad, quiet)
    assert caught.value.code == "environment_broken"
    assert list(venvs.built()) == []
    assert [path for path in (tmp_path / "venvs").iterdir() if path.is_dir()] == []


def test_python_that_is_not_here_is_named_with_the_way_out(
    tmp_path: Path, tiny: Environment
) -> None:
    venvs = Venvs(tmp_path / "venvs", Wheelhouse(tmp_path / "wheels"), {"3.7": sys.executable})
    with pytest.raises(BackendRejected, match=r"no Python 3\.7") as caught:
        venvs.build(replace(tiny, python="3.7"), quiet)
    assert caught.value.code == "python_missing"
    assert "pythons" in caught.value.hint


@pytest.mark.parametrize("executable", ["/nonexistent", "/bin/true", "/etc/passwd"])
def test_what_is_no_python_is_not_taken_for_one(executable: str) -> None:
    assert interpreters.ask(executable) is None
