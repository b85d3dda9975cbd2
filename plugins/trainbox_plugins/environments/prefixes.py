"""Relocatable CPythons of this host: found, looked at, and packed for an image.

A prefix is a directory with ``bin/pythonX.Y`` and ``lib/pythonX.Y``, as pyenv, uv and
python-build-standalone install them. CPython finds its library beside its own file, so a copy works
at any other place, if the root it is put into has the C libraries it was linked to. Whether it has
is read from the files (ELF), before anything is built.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

from trainbox_plugins.environments.elf import needed_by

PACKAGE_OF = {
    "libbz2.so.1.0": "libbz2-1.0",
    "libcrypt.so.1": "libcrypt1",
    "libcrypto.so.3": "libssl3",
    "libexpat.so.1": "libexpat1",
    "libffi.so.8": "libffi8",
    "libgcc_s.so.1": "libgcc-s1",
    "liblzma.so.5": "liblzma5",
    "libncursesw.so.6": "libncursesw6",
    "libpanelw.so.6": "libncursesw6",
    "libreadline.so.8": "libreadline8",
    "libsqlite3.so.0": "libsqlite3-0",
    "libssl.so.3": "libssl3",
    "libtinfo.so.6": "libtinfo6",
    "libuuid.so.1": "libuuid1",
    "libz.so.1": "zlib1g",
}
"""C libraries that a root for prefixes has, and the Debian package (bookworm) of each."""

_LIBC = re.compile(r"(libc|libm|libpthread|libdl|librt|libutil|ld-linux-[\w-]+)\.so\.\d+")
_ESSENTIAL = ("_bz2", "_ctypes", "_hashlib", "_lzma", "_sqlite3", "_ssl", "zlib")
_LEFT_OUT = {
    "__pycache__",
    "ensurepip",
    "idlelib",
    "idle_test",
    "lib2to3",
    "site-packages",
    "test",
    "tests",
    "tkinter",
    "turtledemo",
}
_WASTE = re.compile(r"config-.*|turtle\.py|.*\.(a|o|pyc|pth|exe)")
_ASK = "import sys,platform;print(*sys.version_info[:2],platform.python_version(),sys.prefix)"
_ASK_TIMEOUT_S = 20


@dataclass(frozen=True)
class Prefix:
    """A CPython that can be copied.

    Attributes:
        version: ``X.Y``.
        release: ``X.Y.Z``.
        home: the directory.
    """

    version: str
    release: str
    home: Path

    @property
    def executable(self) -> Path:
        """Its interpreter."""
        return self.home / "bin" / f"python{self.version}"


def candidates(version: str, configured: Mapping[str, str]) -> list[Path]:
    """Return where a Python ``version`` could be, the admin's own words first.

    Args:
        version: ``X.Y``.
        configured: ``X.Y`` to a prefix; what is named there is the only candidate.
    """
    if version in configured:
        return [Path(configured[version])]
    given = os.environ.get("TRAINBOX_PYTHON_PREFIXES", "")
    places = [Path(part) for part in given.split(":") if part]
    for folder, pattern in _folders(version):
        with suppress(OSError):  # closed to this user: no candidate
            places += sorted(folder.glob(pattern), key=_release_in_name, reverse=True)
    if version == "{}.{}".format(*sys.version_info[:2]):
        places.append(Path(sys.base_prefix))
    real = [place.resolve() for place in places if _is_there(place / f"bin/python{version}")]
    return list(dict.fromkeys(real))


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # in a folder that is closed to this user
        return False


def _folders(version: str) -> Iterator[tuple[Path, str]]:
    home = Path.home()
    data = Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    yield Path("/opt/python"), f"*{version}*"
    yield (
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv" / "python"),
        f"cpython-{version}*",
    )
    yield Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions", f"{version}.*"


def _release_in_name(path: Path) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", path.name))


def find_prefix(
    version: str, configured: Mapping[str, str], glibc_minor: int
) -> tuple[Prefix | None, list[str]]:
    """Return the first prefix that fits a root of glibc 2.x, and why the ones before it do not."""
    refused: list[str] = []
    for place in candidates(version, configured):
        prefix, why = examine(place, version, glibc_minor)
        if prefix is not None:
            return prefix, refused
        refused.append(f"{place}: {why}")
    return None, refused


@lru_cache(maxsize=64)
def examine(home: Path, version: str, glibc_minor: int) -> tuple[Prefix | None, str]:
    """Return a directory as a prefix, or None and what speaks against it."""
    if home == Path("/usr"):
        return None, "the system's own Python lies in many places and cannot be copied"
    executable = home / "bin" / f"python{version}"
    try:
        asked = subprocess.run(
            [executable, "-I", "-S", "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_ASK_TIMEOUT_S,
            check=True,
            env={},
        ).stdout.split(maxsplit=3)
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"bin/python{version} does not run ({type(error).__name__})"
    if f"{asked[0]}.{asked[1]}" != version or not (home / f"lib/python{version}/os.py").exists():
        return None, f"it is no Python {version} with its library beside it"
    unfit = _unfit(home, version, glibc_minor)
    if unfit:
        return None, unfit
    return Prefix(version, asked[2], home), ""


def _unfit(home: Path, version: str, glibc_minor: int) -> str:
    binaries = [home / "bin" / f"python{version}", *_shared(home, version)]
    for path in binaries:
        lacking = _lacking(path, glibc_minor)
        if lacking:
            return f"{path.name} needs {lacking}, which Debian 12 does not have"
    dynload = home / f"lib/python{version}/lib-dynload"
    for module in _ESSENTIAL:
        found = next(dynload.glob(f"{module}.*.so"), None)
        if found is None:
            if not _built_in(binaries[0], module):
                return f"it was built without {module}"
            continue
        lacking = _lacking(found, glibc_minor)
        if lacking:
            return f"its {module} needs {lacking}, which Debian 12 does not have"
    return ""


def _built_in(executable: Path, module: str) -> bool:
    code = f"import sys; sys.exit({module!r} not in sys.builtin_module_names)"
    return subprocess.run([executable, "-I", "-S", "-c", code], check=False).returncode == 0


def _shared(home: Path, version: str) -> list[Path]:
    return sorted((home / "lib").glob(f"libpython{version}.so.*"))


def _lacking(path: Path, glibc_minor: int) -> str:
    """Return a library that a binary needs and the root lacks; empty for none."""
    needs = needed_by(path)
    for name in needs.libraries:
        known = name in PACKAGE_OF or _LIBC.fullmatch(name) or name.startswith("libpython")
        if not known:
            return name
    return f"glibc 2.{needs.glibc_minor}" if needs.glibc_minor > glibc_minor else ""


def pack(prefix: Prefix, place: str, target: Path, glibc_minor: int) -> None:
    """Write what an image needs of a prefix into a tar, as it is to lie at ``place``.

    Left out: every installed package and ``.pth``, tests, Tk, what only compilers use, compiled
    files, and modules whose C library the root lacks. Owners, times and order are fixed.
    """
    version = prefix.version
    with tarfile.open(target, "w") as archive:
        _add(archive, f"bin/python{version}", prefix.executable.read_bytes(), 0o755)
        for alias in ("python3", "python"):
            link = tarfile.TarInfo(f"bin/{alias}")
            link.type, link.linkname, link.mode = tarfile.SYMTYPE, f"python{version}", 0o777
            archive.addfile(link)
        for path in _shared(prefix.home, version):
            _add(archive, f"lib/{path.name}", path.read_bytes(), 0o755)
        library = prefix.home / "lib" / f"python{version}"
        for path in _library_files(library):
            if path.suffix == ".so" and _lacking(path, glibc_minor):
                continue
            content = path.read_bytes()
            if path.name.startswith("_sysconfigdata"):
                content = content.replace(os.fsencode(prefix.home), place.encode())
            name = f"lib/python{version}/{path.relative_to(library).as_posix()}"
            _add(archive, name, content, 0o755 if path.suffix == ".so" else 0o644)


def _library_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if path.name in _LEFT_OUT or _WASTE.fullmatch(path.name):
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _library_files(path)
        elif path.is_file():
            yield path


def _add(archive: tarfile.TarFile, name: str, content: bytes, mode: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), mode
    archive.addfile(info, BytesIO(content))
