"""Wheels on the host: downloaded once per lock, checked by hash, used with no network after."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox_plugins.environments.cache import exclusive, work_directory
from trainbox_plugins.environments.lock import Pin, read_lock, sha256_of
from trainbox_plugins.environments.pip import run_pip
from trainbox_sdk.errors import BackendRejected

if TYPE_CHECKING:
    from trainbox_sdk.environments import BuildProgress, Environment

IMAGE_GLIBC = 36
"""Minor version of glibc 2.x in the images' base (Debian 12): the newest a wheel may ask for."""

RETRIES = 3
"""How often pip asks an index that does not answer, before it says so."""

MAX_UNPACKED_BYTES = 16 * 1024**3
MAX_UNPACKED_FILES = 500_000
"""What a user's requirements may unpack to; PyTorch with CUDA is about half of it."""

_REFUSED = "requirements_refused"
_FOR_WISHES = "for-wishes"
"""A file beside wheels that may go; those of registered environments stay."""
_OLDEST_GLIBC = 5  # manylinux1
_LEGACY = {5: "manylinux1", 12: "manylinux2010", 17: "manylinux2014"}  # PEP 513, 571, 599


@dataclass(frozen=True)
class Wheels:
    """The wheels of one lock, every one of them hash-checked.

    Attributes:
        directory: holds the wheels and nothing else that pip would take.
        files: file name to sha256.
    """

    directory: Path
    files: dict[str, str]

    @property
    def digest(self) -> str:
        """sha256 over names and sums, as hex: equal sets are equal content."""
        lines = "".join(f"{name} {digest}\n" for name, digest in sorted(self.files.items()))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of all wheels."""
        return sum((self.directory / name).stat().st_size for name in self.files)


def platform_tags(glibc_minor: int, machine: str = platform.machine()) -> tuple[str, ...]:
    """Return the wheel platform tags of a glibc 2.x system, newest first (PEP 600)."""
    tags: list[str] = []
    for minor in range(glibc_minor, _OLDEST_GLIBC - 1, -1):
        tags.append(f"manylinux_2_{minor}_{machine}")
        if minor in _LEGACY:
            tags.append(f"{_LEGACY[minor]}_{machine}")
    return (*tags, f"linux_{machine}")


def host_glibc_minor() -> int:
    """Return the minor version of this host's glibc 2.x, no newer than the images'.

    Raises:
        BackendRejected: another C library.
    """
    name, version = platform.libc_ver()
    if name != "glibc":
        raise BackendRejected(f"wheels need glibc, this host has {name or 'another C library'}")
    return min(int(version.split(".")[1]), IMAGE_GLIBC)


class Wheelhouse:
    """A cache directory of wheel sets, one per lock, Python and C library.

    Args:
        root: may be shared by any number of daemons of one user.
        offline: a directory of wheels to take instead of asking an index; kept as an attribute.
    """

    def __init__(self, root: Path, offline: Path | None = None) -> None:
        self._root = root
        self.offline = offline

    def fetch(
        self, environment: Environment, report: BuildProgress, *, glibc_minor: int = IMAGE_GLIBC
    ) -> Wheels:
        """Return the wheels of an environment, downloading what is not cached. Blocks.

        Raises:
            BackendRejected: bad lock, no index, wrong hash: the message says which and what to do.
        """
        pins = read_lock(environment.requirements)
        key = _key(environment, glibc_minor)
        target = self._root / key
        with exclusive(self._root / f".{key}.lock"):
            if not (target / "wheels.json").exists():
                self._download(environment, pins, target, report, glibc_minor)
            report(1.0, f"{len(pins)} packages of {environment.name} are on this host")
            found = _checked(target, pins)
            (target / "wheels.json").touch()  # the time of its last use
            if environment.wishes:
                (target / _FOR_WISHES).touch()
                _require_size(found)
            return found

    def forget_unused(self, unused_s: float) -> None:
        """Remove wheels of users' requirements that no build has asked for in so long. Blocks."""
        for mark in self._root.glob(f"*/{_FOR_WISHES}"):
            folder = mark.parent
            with exclusive(self._root / f".{folder.name}.lock"):
                record = folder / "wheels.json"
                if not record.exists() or record.stat().st_mtime < time.time() - unused_s:
                    shutil.rmtree(folder, ignore_errors=True)

    def _download(
        self,
        environment: Environment,
        pins: tuple[Pin, ...],
        target: Path,
        report: BuildProgress,
        glibc_minor: int,
    ) -> None:
        with work_directory(self._root, ".part-") as part:
            told = _Told(environment.name, len(pins), report)
            arguments = self._arguments(environment, part, glibc_minor)
            run_pip(arguments, doing=f"downloading wheels for {environment.name}", line=told)
            (part / "wheels.json").write_text(json.dumps(sorted(_sums(part))), encoding="utf-8")
            shutil.rmtree(target, ignore_errors=True)  # an unfinished one of a crashed build
            part.replace(target)

    def _arguments(self, environment: Environment, part: Path, glibc_minor: int) -> list[str]:
        source = ["--no-index", "--find-links", str(self.offline)] if self.offline else []
        tags = [f"--platform={tag}" for tag in platform_tags(glibc_minor)]
        return [
            "download",
            "--progress-bar=off",
            f"--retries={RETRIES}",
            "--require-hashes",
            "--only-binary=:all:",
            "--no-deps",
            "--implementation=cp",
            f"--python-version={environment.python}",
            *tags,
            *source,
            f"--requirement={environment.requirements}",
            f"--dest={part}",
        ]


class _Told:
    """Turns pip's lines into progress; it never repeats them, since they name the index."""

    def __init__(self, name: str, total: int, report: BuildProgress) -> None:
        self._name = name
        self._total = total
        self._report = report
        self._seen = 0

    def __call__(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        if rest and word in ("Collecting", "Processing"):  # from an index, from a directory
            self._seen += 1
            package = rest.split()[0].rpartition("/")[2].split("==")[0].split("-")[0]
            fraction = min(0.99, (self._seen - 1) / self._total)
            self._report(fraction, f"downloading {package} ({self._seen} of {self._total})")


def _require_size(wheels: Wheels) -> None:
    """Refuse wheels of strangers that would fill the disk when they are unpacked.

    Raises:
        BackendRejected: ``requirements_refused``.
    """
    size, count = 0, 0
    for name in wheels.files:
        try:
            with zipfile.ZipFile(wheels.directory / name) as archive:
                # Installers unpack no more of a member than this says (zipfile.ZipExtFile).
                size += sum(member.file_size for member in archive.infolist())
                count += len(archive.infolist())
        except zipfile.BadZipFile as error:
            raise BackendRejected(f"{name} is no wheel: {error}", code=_REFUSED) from None
    if size > MAX_UNPACKED_BYTES or count > MAX_UNPACKED_FILES:
        raise BackendRejected(
            f"the requirements unpack to {size / 2**30:.1f} GiB in {count} files; at most "
            f"{MAX_UNPACKED_BYTES / 2**30:.0f} GiB in {MAX_UNPACKED_FILES} files are installed",
            code=_REFUSED,
        )


def _key(environment: Environment, glibc_minor: int) -> str:
    lock = hashlib.sha256(environment.requirements.read_bytes()).hexdigest()[:24]
    return f"{lock}-cp{environment.python.replace('.', '')}-glibc2.{glibc_minor}"


def _sums(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.glob("*.whl")}


def _checked(directory: Path, pins: tuple[Pin, ...]) -> Wheels:
    """Hash every cached wheel again: a disk or a neighbour may have changed it since."""
    files = _sums(directory)
    allowed = frozenset[str]().union(*(pin.hashes for pin in pins))
    strange = [name for name, digest in files.items() if digest not in allowed]
    expected = json.loads((directory / "wheels.json").read_text(encoding="utf-8"))
    if strange or sorted(files) != expected:
        os.unlink(directory / "wheels.json")  # noqa: PTH108 - next time it is fetched anew
        raise BackendRejected(
            f"cached wheels in {directory} changed since they were downloaded: "
            f"{', '.join(strange) or 'files are missing'}",
            code="wheel_hash_mismatch",
            hint="build again: they will be downloaded anew",
        )
    return Wheels(directory, files)
