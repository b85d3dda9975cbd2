"""Venvs from a lock: built once, complete or absent, compiled, nothing of the installer inside."""

from __future__ import annotations

import importlib.util
import marshal
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import CodeType

import pytest

from trainbox_plugins.environments.testing import MODULE, tiny_environment, write_wheel
from trainbox_plugins.environments.wheelhouse import Wheelhouse
from trainbox_plugins.process_backend import interpreters
from trainbox_plugins.process_backend.venvs import Venvs, python_of, read_record
from trainbox_sdk.environments import Environment
from trainbox_sdk.errors import BackendRejected, NotFound


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


# --- a user's requirements


def test_requirements_become_a_venv_of_their_own(venvs: Venvs, tiny: Environment) -> None:
    shelf = tiny.requirements.parent
    write_wheel(shelf, MODULE, "2.0", source="ANSWER = 43\n")
    write_wheel(shelf, "trainbox_more", "1.0", MODULE, source="MORE = 1\n")
    wishes = shelf / "requirements.txt"
    wishes.write_text("trainbox-more\n")
    wished = replace(tiny, wishes=(wishes,))
    plain, built = venvs.build(tiny, quiet), venvs.build(wished, quiet)
    assert (plain.for_wishes, built.for_wishes) == (False, True)
    assert built.digest == wished.digest != plain.digest
    # The base's pin is preferred where the user leaves a choice.
    assert built.packages == ("trainbox-more==1.0", "trainbox-tiny==1.0")
    ask = [python_of(Path(built.reference)), "-I", "-c", "import trainbox_more as m; print(m.MORE)"]
    assert subprocess.run(ask, capture_output=True, text=True, check=True).stdout == "1\n"
    assert venvs.build(wished, quiet) == built
    assert venvs.verify(tiny) == plain


def test_nothing_of_a_stranger_runs_while_requirements_are_installed(
    venvs: Venvs, tiny: Environment, tmp_path: Path
) -> None:
    ran = tmp_path / "ran"
    shelf = tiny.requirements.parent
    attack = f"open({str(ran)!r}, 'w').close()\n"
    write_wheel(shelf, "evil", "1.0", source=attack, pth=f"import os; {attack}")
    write_wheel(shelf, MODULE, "2.0", source=attack)
    wishes = shelf / "requirements.txt"
    wishes.write_text(f"evil\n{MODULE}==2.0\n")
    built = venvs.build(replace(tiny, wishes=(wishes,)), quiet)
    assert not ran.exists()
    # It would have: any start of the venv's own interpreter reads the .pth.
    subprocess.run([python_of(Path(built.reference)), "-I", "-c", ""], check=True)
    assert ran.exists()


def test_requirements_that_cannot_be_met_leave_no_venv(venvs: Venvs, tiny: Environment) -> None:
    wishes = tiny.requirements.parent / "requirements.txt"
    wishes.write_text("no-such-package\n")
    with pytest.raises(BackendRejected) as caught:
        venvs.build(replace(tiny, wishes=(wishes,)), quiet)
    assert caught.value.code == "requirements_unresolvable"
    assert venvs.built() == []


def test_venvs_of_requirements_go_when_nobody_asks_for_them(
    venvs: Venvs, tiny: Environment, tmp_path: Path
) -> None:
    shelf = tiny.requirements.parent
    write_wheel(shelf, "trainbox_more", "1.0")
    wishes = shelf / "requirements.txt"
    wishes.write_text("trainbox-more\n")
    plain, built = venvs.build(tiny, quiet), venvs.build(replace(tiny, wishes=(wishes,)), quiet)
    assert venvs.prune(keep=0, unused_s=0) == [], "a step could be running in it"
    long_ago = time.time() - 3 * 86_400
    os.utime(tmp_path / "used" / built.digest, (long_ago, long_ago))
    record = Path(built.reference) / "environment.json"
    record.write_text(record.read_text().replace('"created_at": "20', '"created_at": "19'))
    assert [one.digest for one in venvs.prune(keep=0, unused_s=0)] == [built.digest]
    assert [one.digest for one in venvs.built()] == [plain.digest]
    assert not Path(built.reference).exists()


@pytest.mark.parametrize(
    "text", [f"{MODULE}==1.0\r\n", "# a comment\n", "absent; python_version < '3'\n"]
)
def test_requirements_that_add_nothing_make_no_venv(
    venvs: Venvs, tiny: Environment, text: str
) -> None:
    wishes = tiny.requirements.parent / "requirements.txt"
    wishes.write_bytes(text.encode())
    plain = venvs.build(tiny, quiet)
    assert venvs.build(replace(tiny, wishes=(wishes,)), quiet).reference == plain.reference
    assert [one.reference for one in venvs.built()] == [plain.reference]


def test_a_venv_that_changed_since_is_noticed(venvs: Venvs, tiny: Environment) -> None:
    with pytest.raises(NotFound):
        venvs.verify(tiny)
    built = venvs.build(tiny, quiet)
    module = next(Path(built.reference).rglob(f"{MODULE}/__init__.py"))
    module.unlink()
    for compiled in module.parent.rglob("*.pyc"):
        compiled.write_bytes(b"")
    (module.parent / "__init__.py").write_text("raise OSError('changed')\n")
    with pytest.raises(BackendRejected, match="changed"):
        venvs.verify(tiny)


@pytest.mark.parametrize("version", ["3.10", "3.12"])
def test_another_python_of_this_host_is_found_where_installers_put_it(version: str) -> None:
    if f"python{version}" in os.environ.get("TRAINBOX_TEST_WITHOUT_RUNTIMES", "").split():
        pytest.skip(f"TRAINBOX_TEST_WITHOUT_RUNTIMES says that there is no Python {version} here")
    found = interpreters.find(version, {})
    assert found.version == version
    assert found.executable.endswith(f"/bin/python{version}")
