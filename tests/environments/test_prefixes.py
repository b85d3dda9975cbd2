"""Relocatable Pythons: where they are looked for, which are refused, and what goes into an image."""

from __future__ import annotations

import errno
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from trainbox_plugins.environments import prefixes
from trainbox_plugins.environments.elf import needed_by
from trainbox_plugins.environments.prefixes import Prefix, candidates, examine, find_prefix, pack
from trainbox_plugins.environments.wheelhouse import IMAGE_GLIBC

HERE = "{}.{}".format(*sys.version_info[:2])


def fake(place: Path, version: str, release: str = "") -> Path:
    """A directory that looks like a prefix and whose interpreter answers as one."""
    (place / "bin").mkdir(parents=True)
    (place / f"lib/python{version}/lib-dynload").mkdir(parents=True)
    (place / f"lib/python{version}/os.py").write_text("")
    program = place / f"bin/python{version}"
    major, minor = version.split(".")
    program.write_text(f"#!/bin/sh\necho {major} {minor} {release or version + '.1'} {place}\n")
    program.chmod(0o755)
    return place


@pytest.fixture(autouse=True)
def _nothing_of_this_host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("TRAINBOX_PYTHON_PREFIXES", "UV_PYTHON_INSTALL_DIR", "PYENV_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "running"))
    examine.cache_clear()


def test_they_are_looked_for_where_installers_put_them_newest_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = fake(tmp_path / "given", "3.12")
    uv = fake(tmp_path / "data/uv/python/cpython-3.12.9-linux", "3.12")
    fake(tmp_path / "home/.pyenv/versions/3.11.4", "3.11")
    old = fake(tmp_path / "home/.pyenv/versions/3.12.2", "3.12")
    new = fake(tmp_path / "home/.pyenv/versions/3.12.10", "3.12")
    (tmp_path / "home/.pyenv/versions/3.12.99").mkdir()
    monkeypatch.setenv("TRAINBOX_PYTHON_PREFIXES", f"{tmp_path}/none:{given}")
    found = [place for place in candidates("3.12", {}) if place.is_relative_to(tmp_path)]
    assert found == [given, uv, new, old]
    # What an admin names is the only one.
    assert candidates("3.12", {"3.12": "/somewhere"}) == [Path("/somewhere")]
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "elsewhere"))
    moved = fake(tmp_path / "elsewhere/versions/3.12.3", "3.12")
    found = [place for place in candidates("3.12", {}) if place.is_relative_to(tmp_path)]
    assert found == [given, uv, moved]


def test_a_folder_that_is_closed_to_this_user_holds_no_candidate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = fake(tmp_path / "closed", "3.12")
    given = fake(tmp_path / "given", "3.12")
    exists = Path.exists

    def refused(path: Path) -> bool:  # root, who runs tests, is refused nothing
        if path.is_relative_to(closed):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", refused)
    monkeypatch.setenv("TRAINBOX_PYTHON_PREFIXES", f"{closed}:{given}")
    assert [place for place in candidates("3.12", {}) if place.is_relative_to(tmp_path)] == [given]


def test_the_running_interpreter_counts_where_its_version_fits(tmp_path: Path) -> None:
    running = fake(tmp_path / "running", HERE)
    assert candidates(HERE, {})[-1] == running
    assert running not in candidates("3.5", {})


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda p: (p / "bin/python3.12").write_text("#!/bin/sh\nexit 3\n"), "does not run"),
        (lambda p: (p / "bin/python3.12").unlink(), "does not run"),
        (lambda p: (p / "lib/python3.12/os.py").unlink(), "library beside it"),
        (
            lambda p: (p / "bin/python3.12").write_text("#!/bin/sh\necho 3 11 3.11.4 /x\n"),
            "no Python 3.12",
        ),
    ],
)
def test_what_is_no_such_python_is_refused_with_its_reason(tmp_path: Path, spoil, why) -> None:
    place = fake(tmp_path / "it", "3.12")
    spoil(place)
    prefix, refused = find_prefix("3.12", {"3.12": str(place)}, IMAGE_GLIBC)
    assert prefix is None
    assert len(refused) == 1
    assert refused[0].startswith(f"{place}: ")
    assert why in refused[0]


def test_the_systems_python_is_no_prefix() -> None:
    assert "cannot be copied" in examine(Path("/usr"), "3.11", IMAGE_GLIBC)[1]


def test_a_library_that_the_root_lacks_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = fake(tmp_path / "it", "3.12")
    for module in prefixes._ESSENTIAL:
        (place / f"lib/python3.12/lib-dynload/{module}.cpython-312.so").write_bytes(b"no ELF")
    assert examine(place, "3.12", IMAGE_GLIBC)[0] == Prefix("3.12", "3.12.1", place)
    examine.cache_clear()
    real = needed_by

    def needs(path: Path):
        found = real(path)
        if path.name.startswith("_ssl."):
            return type(found)(("libssl.so.1.1",), 0)
        return found

    monkeypatch.setattr(prefixes, "needed_by", needs)
    assert "libssl.so.1.1" in examine(place, "3.12", IMAGE_GLIBC)[1]
    examine.cache_clear()
    monkeypatch.setattr(prefixes, "needed_by", lambda path: type(real(path))((), 99))
    assert "glibc 2.99" in examine(place, "3.12", IMAGE_GLIBC)[1]


def test_what_a_real_program_needs_is_what_the_loader_says() -> None:
    told = subprocess.run(["ldd", "/bin/ls"], capture_output=True, text=True, check=True).stdout
    needs = needed_by(Path("/bin/ls"))
    assert "libc.so.6" in needs.libraries
    assert all(name in told for name in needs.libraries)
    assert 2 <= needs.glibc_minor < 100
    assert needed_by(Path(__file__)).libraries == ()


def test_a_packed_prefix_leaves_out_what_is_not_pythons_own(tmp_path: Path) -> None:
    place = fake(tmp_path / "it", "3.12")
    library = place / "lib/python3.12"
    kept = ("json/__init__.py", "os.py", "site.py", "LICENSE.txt")
    gone = (
        "site-packages/evil.pth",
        "site-packages/x/__init__.py",
        "start.pth",
        "test/test_os.py",
        "unittest/tests/x.py",
        "tkinter/__init__.py",
        "idlelib/x.py",
        "config-3.12-x/libpython.a",
        "__pycache__/os.cpython-312.pyc",
    )
    for name in (*kept, *gone):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_text("words")
    (library / "_sysconfigdata_x.py").write_text(f"prefix = {str(place)!r}\n")
    (place / "lib/libpython3.12.so.1.0").write_bytes(b"no ELF")
    (place / "share/man").mkdir(parents=True)
    tar = tmp_path / "it.tar"
    pack(Prefix("3.12", "3.12.1", place), "/opt/python/3.12", tar, IMAGE_GLIBC)
    with tarfile.open(tar) as archive:
        members = {member.name: member for member in archive}
        config = archive.extractfile("lib/python3.12/_sysconfigdata_x.py").read()
    names = {*(f"lib/python3.12/{name}" for name in kept), "lib/python3.12/_sysconfigdata_x.py"}
    programs = {"bin/python3.12", "bin/python3", "bin/python", "lib/libpython3.12.so.1.0"}
    assert set(members) == names | programs
    assert config == b"prefix = '/opt/python/3.12'\n"
    assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}
    assert members["bin/python3.12"].mode == 0o755
    first = tar.read_bytes()
    pack(Prefix("3.12", "3.12.1", place), "/opt/python/3.12", tar, IMAGE_GLIBC)
    assert tar.read_bytes() == first
