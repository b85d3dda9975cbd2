"""Environments as venvs: the same lock and wheels as the images, for steps without containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox_plugins.environments.cache import Uses, exclusive, tree_bytes
from trainbox_plugins.environments.contents import bill_of, packages_in, strangers_in
from trainbox_plugins.environments.lock import read_lock
from trainbox_plugins.environments.pip import run_pip
from trainbox_plugins.environments.resolve import Resolver
from trainbox_plugins.environments.surplus import KEEP, UNUSED_S, surplus
from trainbox_plugins.environments.wheelhouse import host_glibc_minor
from trainbox_plugins.process_backend import interpreters
from trainbox_sdk.environments import BuiltEnvironment
from trainbox_sdk.errors import BackendRejected, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainbox_plugins.environments.wheelhouse import Wheelhouse, Wheels
    from trainbox_sdk.environments import BuildProgress, Environment

RECORD = "environment.json"
_IMPORT_TIMEOUT_S = 300
_TESTS = "/tests/"
"""Folders that are not compiled: half of what packages bring, and nobody imports it."""


@dataclass(frozen=True)
class VenvRecord:
    """What is known of a built venv; written last, so its presence means "complete".

    Attributes:
        roots: the directories of the base interpreter, to be readable in a sandbox.
        warm_import_s: how long the acceptance check's imports took.
        for_wishes: whether it was made for a user's requirements.
        bill: what is installed; see :mod:`trainbox_plugins.environments.contents`.
    """

    name: str
    digest: str
    python: str
    roots: list[str]
    wheels: str
    bytes: int
    created_at: str
    warm_import_s: float
    for_wishes: bool = False
    bill: str = ""


class Venvs:
    """A directory of venvs, one per environment digest.

    Args:
        root: shared by daemons of one user; a build holds a lock file. Beside it lie the locks of
            users' requirements, and when each venv was last asked for.
        wheelhouse: where the wheels come from.
        pythons: ``X.Y`` to an interpreter, where the host's own choice is not wanted.
    """

    def __init__(self, root: Path, wheelhouse: Wheelhouse, pythons: Mapping[str, str]) -> None:
        self._root = root
        self._wheelhouse = wheelhouse
        self._pythons = pythons
        self._resolver = Resolver(root.parent / "locks", wheelhouse.offline)
        self._uses = Uses(root.parent / "used")

    def build(self, environment: Environment, report: BuildProgress) -> BuiltEnvironment:
        """Return the venv of an environment, made where it is missing. Blocks.

        Raises:
            BackendRejected: no interpreter, no wheels, or the packages do not import here.
        """
        digest = environment.digest
        target = self._place(environment.name, digest)
        self._root.mkdir(parents=True, exist_ok=True)
        with exclusive(self._root / f".{target.name}.lock"):
            record = read_record(target)
            if record is None and (enough := self._enough(environment)) is not None:
                target, record = enough
            if record is None:
                record = self._make(environment, digest, target, report)
            self._uses.note(record.digest)
        if environment.wishes:
            self.prune(keep=KEEP, unused_s=UNUSED_S)
        report(1.0, f"{environment.name} is ready")
        return self._built(target, record)

    def built(self) -> Sequence[BuiltEnvironment]:
        """List the complete ones."""
        found = [(path, read_record(path)) for path in sorted(self._root.glob("[!.]*"))]
        return [self._built(path, record) for path, record in found if record is not None]

    def verify(self, environment: Environment) -> BuiltEnvironment:
        """Import once more, and hold what was installed to the lock. Blocks.

        Raises:
            NotFound: it is not built here.
            BackendRejected: ``environment_broken``.
        """
        target = self._place(environment.name, environment.digest)
        record = read_record(target)
        if record is None:
            raise NotFound(f"no venv of {environment.name} is built from this lock")
        if record.bill:  # earlier releases wrote none
            strange = strangers_in(record.bill, read_lock(environment.requirements))
            if strange:
                raise BackendRejected(
                    f"the venv of {environment.name} does not hold what its lock says: "
                    f"{', '.join(strange[:5])}",
                    code="environment_broken",
                )
        _try_imports(target, environment.warm_imports)
        return self._built(target, record)

    def prune(self, *, keep: int, unused_s: float) -> Sequence[BuiltEnvironment]:
        """Remove venvs of users' requirements that nobody asks for. Blocks.

        None goes that was asked for within :data:`~trainbox_plugins.environments.surplus.UNUSED_S`:
        a step could run in it.
        """
        unused_s = max(unused_s, UNUSED_S)
        chosen = surplus(self.built(), keep=keep, unused_s=unused_s, now=datetime.now(UTC))
        for one in chosen:
            path = Path(one.reference)
            with exclusive(self._root / f".{path.name}.lock"):
                (path / RECORD).unlink(missing_ok=True)  # first: what is left is incomplete
                shutil.rmtree(path, ignore_errors=True)
            self._uses.forget(one.digest)
        self._wheelhouse.forget_unused(unused_s)
        return chosen

    def _place(self, name: str, digest: str) -> Path:
        return self._root / f"{name}-{digest[:12]}"

    def _enough(self, environment: Environment) -> tuple[Path, VenvRecord] | None:
        """Return the venv without the wishes, where it is built and they add nothing to it."""
        if not environment.wishes:
            return None
        plain = replace(environment, wishes=())
        place = self._place(plain.name, plain.digest)
        record = read_record(place)
        if record is None or not record.bill:
            return None
        lock = self._resolver.lock(environment, _silent, glibc_minor=host_glibc_minor())
        return None if strangers_in(record.bill, read_lock(lock)) else (place, record)

    def _make(
        self, environment: Environment, digest: str, target: Path, report: BuildProgress
    ) -> VenvRecord:
        interpreter = interpreters.find(environment.python, self._pythons)
        glibc_minor = host_glibc_minor()
        lock = self._resolver.lock(
            environment,
            lambda fraction, sentence: report(0.1 * fraction, sentence),
            glibc_minor=glibc_minor,
        )
        environment = replace(environment, requirements=lock)
        wheels = self._wheelhouse.fetch(
            environment,
            lambda fraction, sentence: report(0.1 + 0.5 * fraction, sentence),
            glibc_minor=glibc_minor,
        )
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=self._root))
        try:
            report(0.6, f"installing {len(wheels.files)} packages")
            _install(interpreter.executable, environment, wheels, part)
            report(0.85, "compiling bytecode")
            _compile(interpreter.executable, part, target)
            seconds = 0.0
            if not environment.wishes:  # a stranger's packages run in a sandbox alone, never here
                report(0.95, "trying the imports")
                seconds = _try_imports(part, environment.warm_imports)
            record = VenvRecord(
                name=environment.name,
                digest=digest,
                python=interpreter.executable,
                roots=list(interpreter.roots),
                wheels=wheels.digest,
                bytes=tree_bytes(part),
                created_at=datetime.now(UTC).isoformat(),
                warm_import_s=seconds,
                for_wishes=bool(environment.wishes),
                bill=bill_of(wheels.files),
            )
            (part / RECORD).write_text(json.dumps(asdict(record)), encoding="utf-8")
            part.chmod(0o755)
            shutil.rmtree(target, ignore_errors=True)  # half of one, from before a crash
            part.replace(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return record

    def _built(self, path: Path, record: VenvRecord) -> BuiltEnvironment:
        return BuiltEnvironment(
            name=record.name,
            backend="process",
            reference=str(path),
            digest=record.digest,
            bytes=record.bytes,
            created_at=datetime.fromisoformat(record.created_at),
            base=f"venv of {record.python}",
            for_wishes=record.for_wishes,
            used_at=self._uses.last(record.digest),
            packages=packages_in(record.bill),
        )


def _silent(fraction: float, sentence: str) -> None:
    """Take a report that nobody waits for."""


def python_of(venv: Path) -> str:
    """Return the interpreter of a venv."""
    return str(venv / "bin" / "python")


def read_record(venv: Path) -> VenvRecord | None:
    """Return the record of a complete venv, or None where there is none that can start."""
    try:
        if not Path(python_of(venv)).exists():  # its base interpreter was uninstalled
            return None
        raw = json.loads((venv / RECORD).read_text(encoding="utf-8"))
        return VenvRecord(**raw)
    except (OSError, ValueError, TypeError):
        return None


def _install(python: str, environment: Environment, wheels: Wheels, part: Path) -> None:
    # Without pip inside: nothing of a sandbox needs an installer.
    _run([python, "-I", "-m", "venv", "--without-pip", str(part)], "making the venv")
    run_pip(
        [
            f"--python={python_of(part)}",
            "install",
            "--no-index",
            f"--find-links={wheels.directory}",
            "--require-hashes",
            "--no-deps",
            "--no-compile",
            "--no-warn-script-location",
            f"--requirement={environment.requirements}",
        ],
        doing=f"installing {environment.name}",
    )


def _compile(python: str, part: Path, target: Path) -> None:
    # Unchecked pycs: the interpreter trusts them without a look at the source, at any mtime.
    # Tracebacks are to name the place where the venv will be, not where it was made. By the base
    # interpreter: the venv's own would run the .pth files of what was just installed.
    place = ["-s", str(part), "-p", str(target), "-x", _TESTS]
    arguments = ["-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash", *place]
    site_packages = next((part / "lib").glob("python*/site-packages"))
    # Some wheels ship templates that are no valid Python; what matters is tried by the imports.
    _run([python, "-I", "-S", *arguments, str(site_packages)], "compiling", accept=(0, 1))


def _try_imports(part: Path, modules: Sequence[str]) -> float:
    if not modules:
        return 0.0
    started = time.monotonic()
    _run([python_of(part), "-I", "-B", "-c", "import " + ", ".join(modules)], "importing")
    return round(time.monotonic() - started, 3)


def _run(command: Sequence[str], doing: str, accept: Sequence[int] = (0,)) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        timeout=_IMPORT_TIMEOUT_S,
        umask=0o022,
        env={
            "PATH": os.environ.get("PATH", ""),
            "LANG": "C.UTF-8",
            "HOME": "/nonexistent",
            "ORT_DISABLE_TELEMETRY": "1",
        },
    )
    if done.returncode not in accept:
        last = (done.stderr or done.stdout).strip()[-600:]
        raise BackendRejected(
            f"{doing} failed with exit code {done.returncode}: {last}", code="environment_broken"
        )
