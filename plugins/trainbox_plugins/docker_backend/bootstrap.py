"""A base image with no registry: a minimal Debian root, made on this host, imported as one layer.

Runs debootstrap(8) as root. Nothing of the host stays inside: no mirror, no resolver, no host name,
no setuid file, no caches.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainbox_sdk.environments import BuildProgress
from trainbox_sdk.errors import BackendRejected

RECIPE = "1"
"""Raise it when this module makes another root from the same arguments."""

SUITE_OF_PYTHON = {"3.9": "bullseye", "3.11": "bookworm", "3.13": "trixie"}

_APT = Path("/etc/apt")
_WASTE = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/info",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/share/i18n",
    "var/cache",
    "var/lib/apt/lists",
    "var/log",
)
_OF_THE_HOST = ("etc/resolv.conf", "etc/hostname", "etc/apt/sources.list", "etc/machine-id")
_STEP = re.compile(r"^I: (\w+)")
_USUAL_LINES = 420
"""About how many lines debootstrap writes for a minimal root with Python; for the progress only."""
_TIMEOUT_S = 1800
_MEMORY_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Base:
    """A root to be made.

    Attributes:
        suite: Debian release, such as ``bookworm``.
        packages: on top of the minimal set.
    """

    suite: str
    packages: tuple[str, ...]

    @property
    def digest(self) -> str:
        """sha256 over everything that decides the content but the mirror's state, as hex."""
        told = "\0".join((RECIPE, self.suite, *sorted(self.packages)))
        return hashlib.sha256(told.encode()).hexdigest()

    @property
    def title(self) -> str:
        """Where it comes from, for people."""
        return f"debian:{self.suite} (debootstrap)"


def base_for(python: str, packages: Sequence[str]) -> Base:
    """Return the base whose own Python is the wanted one.

    Raises:
        BackendRejected: no Debian release has that Python.
    """
    suite = SUITE_OF_PYTHON.get(python)
    if suite is None:
        known = ", ".join(f"{version} ({name})" for version, name in SUITE_OF_PYTHON.items())
        raise BackendRejected(
            f"no Debian release brings Python {python}; there are {known}",
            code="no_base",
            hint="set registry_base to an image with that Python",
        )
    return Base(suite, ("python3", *packages))


def require_tools() -> None:
    """Raise unless a root can be made here.

    Raises:
        BackendRejected: not root, or no debootstrap; names the other ways to an image.
    """
    lacking = []
    if os.geteuid() != 0:
        lacking.append("the daemon is not root")
    if shutil.which("debootstrap") is None and not Path("/usr/sbin/debootstrap").exists():
        lacking.append("debootstrap is not installed")
    if lacking:
        raise BackendRejected(
            f"no base image can be made here: {' and '.join(lacking)}",
            code="no_base",
            hint="either run `trainbox images build` once as root with the debootstrap package "
            "installed, or set registry_base to a Python image this engine can pull, or load a "
            "bundle made elsewhere (docker save | docker load)",
        )


def make_root_tar(base: Base, cache: Path, report: BuildProgress) -> Path:
    """Make the root and return it as a tar file in ``cache``; the caller removes it. Blocks.

    Raises:
        BackendRejected: debootstrap failed; the message has its last words.
    """
    require_tools()
    cache.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=".root-", dir=cache))
    try:
        with _in_memory(work):
            root = work / "root"
            _debootstrap(base, root, cache / "debs", report)
            report(0.9, "trimming the base")
            _trim(root)
            return _pack(root, cache / f"{work.name[1:]}.tar")
    finally:
        shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _in_memory(work: Path) -> Iterator[None]:
    """Put a directory into memory while the root is made: dpkg syncs every file to disk there."""
    options = f"size={_MEMORY_BYTES},mode=0755"
    mounted = False
    if os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > 2 * _MEMORY_BYTES:
        command = ["mount", "-t", "tmpfs", "-o", options, "trainbox-root", str(work)]
        mounted = subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(work)], capture_output=True, check=False)


def mirror_of(suite: str, apt: Path = _APT) -> str | None:
    """Return the mirror this host's apt uses for a Debian suite, or None for the default."""
    for text in _sources(apt):
        for words in _deb822(text) if "URIs:" in text else _one_line(text):
            if suite in words[1:]:
                return words[0]
    return None


def _sources(apt: Path) -> Iterator[str]:
    folder = apt / "sources.list.d"
    for path in (apt / "sources.list", *sorted(folder.glob("*.list")), *folder.glob("*.sources")):
        if path.is_file():
            yield path.read_text(encoding="utf-8", errors="replace")


def _one_line(text: str) -> Iterator[list[str]]:
    """Yield URI and suite of each ``deb [options] URI SUITE …`` (sources.list(5))."""
    for line in text.splitlines():
        match = re.match(r"\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+(\S+)", line)
        if match:
            yield [match[1], match[2]]


def _deb822(text: str) -> Iterator[list[str]]:
    """Yield URI and suites of each enabled stanza of a ``.sources`` file."""
    for stanza in re.split(r"\n\s*\n|^(?=Types:)", text, flags=re.MULTILINE):
        fields = dict(re.findall(r"^(\w[\w-]*):\s*(.+)$", stanza, flags=re.MULTILINE))
        enabled = fields.get("Enabled", "yes").strip().lower() != "no"
        if enabled and "deb" in fields.get("Types", "").split() and "URIs" in fields:
            yield [fields["URIs"].split()[0], *fields.get("Suites", "").split()]


def _debootstrap(base: Base, root: Path, debs: Path, report: BuildProgress) -> None:
    debs.mkdir(exist_ok=True)
    mirror = mirror_of(base.suite)
    command = [
        "debootstrap",
        "--variant=minbase",
        f"--include={','.join(base.packages)}",
        f"--cache-dir={debs}",
        base.suite,
        str(root),
        *([mirror] if mirror else []),
    ]
    said: list[str] = []
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        umask=0o022,
        env={**os.environ, "PATH": path, "LC_ALL": "C"},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.rstrip())
            fraction = min(0.88, len(said) / _USUAL_LINES)
            report(fraction, f"making the base: {_what(said[-1])}")
    if process.returncode != 0:
        raise BackendRejected(
            f"debootstrap {base.suite} failed: {'; '.join(said[-3:])}",
            code="no_base",
            hint="it needs a reachable Debian mirror (this host's apt sources are used) and the "
            "right to chroot and mount; else set registry_base or load a bundle",
        )


def _what(line: str) -> str:
    match = _STEP.match(line)
    return f"{match[1].lower()} packages" if match else "packages"


def _trim(root: Path) -> None:
    for name in _WASTE:
        shutil.rmtree(root / name, ignore_errors=True)
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in _OF_THE_HOST:
        (root / name).unlink(missing_ok=True)
    for folder, _, files in os.walk(root):
        for name in files:
            path = Path(folder, name)
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                path.chmod(stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))


def _pack(root: Path, tar: Path) -> Path:
    empty = [f"--exclude=./{name}/*" for name in ("dev", "proc", "sys", "run", "tmp")]
    command = ["tar", "-C", str(root), "--sort=name", "--numeric-owner", *empty, "-cf", str(tar)]
    done = subprocess.run([*command, "."], capture_output=True, check=False, timeout=_TIMEOUT_S)
    if done.returncode != 0:
        tar.unlink(missing_ok=True)
        raise BackendRejected(f"the base could not be packed: {done.stderr.decode()[-300:]}")
    return tar
