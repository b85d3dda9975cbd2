"""Puts code where a sandbox can read it: content-addressed copies of import packages.

A step names the packages its entry needs; they are found like any import, copied once by digest and
shared read-only by every sandbox. Running jobs keep their copy when the daemon is upgraded.
"""

from __future__ import annotations

import asyncio
import compileall
import hashlib
import importlib.util
import os
import py_compile
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from uuid import uuid4

from trainbox.blobs import no_room_is_storage_full
from trainbox_sdk.errors import PluginError

ALWAYS = ("trainbox_guest",)
MAX_BYTES = 64 * 1024**2
PART = ".part-"


class CodeStage:
    """Staged code under one directory. Making one drops what a killed daemon left half copied.

    Args:
        root: where copies live, one folder per digest; exists.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        for leftover in root.glob(f"{PART}*"):
            shutil.rmtree(leftover)
        self._known: dict[tuple[str, ...], Path] = {}
        self._lock = asyncio.Lock()

    async def stage(self, packages: Sequence[str]) -> Path:
        """Return a directory for ``PYTHONPATH`` that holds the packages and the guest.

        Raises:
            PluginError: a package cannot be found, or is larger than :data:`MAX_BYTES`.
        """
        wanted = tuple(sorted({*packages, *ALWAYS}))
        async with self._lock:
            if wanted not in self._known or not self._known[wanted].is_dir():
                self._known[wanted] = await asyncio.to_thread(self._stage, wanted)
            return self._known[wanted]

    def _stage(self, packages: Sequence[str]) -> Path:
        files = _merge(file for name in packages for file in _package_files(name))
        size = sum(path.stat().st_size for path in files.values() if path is not None)
        if size > MAX_BYTES:
            raise PluginError(f"code of {', '.join(packages)} is {size} bytes, over {MAX_BYTES}")
        target = self._root / _digest(files)
        if not target.is_dir():
            self._copy(files, target)
        return target

    def _copy(self, files: dict[str, Path | None], target: Path) -> None:
        part = self._root / f"{PART}{uuid4().hex}"
        with no_room_is_storage_full(self._root):
            self._fill(part, files)
        try:
            part.rename(target)
            _sync(self._root)
        except OSError:
            if not target.is_dir():
                raise
            shutil.rmtree(part)

    def _fill(self, part: Path, files: dict[str, Path | None]) -> None:
        for relative, source in files.items():
            copy = part / relative
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(b"" if source is None else source.read_bytes())
        # A read-only root never compiles; without this every job would pay for it.
        compileall.compile_dir(
            part,
            quiet=2,
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
            stripdir=part,
        )
        for folder, _, names in os.walk(part):
            Path(folder).chmod(0o755)
            for name in names:
                (Path(folder) / name).chmod(0o444)
                _sync(Path(folder) / name)
            _sync(Path(folder))


def _sync(path: Path) -> None:
    """Put a file's bytes, or a directory's names, on the disk.

    A copy is trusted for its name alone by every later daemon: one torn by a power cut would fail
    every job of its kind.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _merge(found: Iterable[tuple[str, Path | None]]) -> dict[str, Path | None]:
    """Return the files by path; a parent asked for in full wins over its bare stand-in."""
    files: dict[str, Path | None] = {}
    for relative, source in found:
        if source is not None or relative not in files:
            files[relative] = source
    return dict(sorted(files.items()))


def _package_files(name: str) -> Iterator[tuple[str, Path | None]]:
    """Yield ``(path in the stage, source)`` of one package or module and its bare parents."""
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise PluginError(f"package {name!r} cannot be found: {error}") from error
    if found is None:
        raise PluginError(f"package {name!r} cannot be found")
    parts = name.split(".")
    for depth in range(1, len(parts)):
        yield "/".join([*parts[:depth], "__init__.py"]), None
    folder = "/".join(parts)
    if found.submodule_search_locations is None:
        yield f"{folder}.py", Path(str(found.origin))
        return
    for location in found.submodule_search_locations:
        yield from _tree(Path(location), folder)


def _tree(location: Path, folder: str) -> Iterator[tuple[str, Path]]:
    for path in sorted(location.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
            yield f"{folder}/{path.relative_to(location).as_posix()}", path


def _digest(files: dict[str, Path | None]) -> str:
    h = hashlib.sha256()
    for relative, source in files.items():
        content = b"" if source is None else source.read_bytes()
        h.update(f"{relative}\0{len(content)}\0".encode() + content)
    return h.hexdigest()[:32]
