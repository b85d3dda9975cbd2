"""Environments as venvs: the same lock and wheels as the images, for steps without containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox_plugins.environments.cache import exclusive, tree_bytes
from trainbox_plugins.environments.pip import run_pip
from trainbox_plugins.environments.wheelhouse import host_glibc_minor
from trainbox_plugins.process_backend import interpreters
from trainbox_sdk.environments import BuiltEnvironment
from trainbox_sdk.errors import BackendRejected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trainbox_plugins.environments.wheelhouse import Wheelhouse, Wheels
    from trainbox_sdk.environments import BuildProgress, Environment

RECORD = "environment.json"
_IMPORT_TIMEOUT_S = 300


@dataclass(frozen=True)
class VenvRecord:
    """What is known of a built venv; written last, so its presence means "complete".

    Attributes:
        roots: the directories of the base interpreter, to be readable in a sandbox.
        warm_import_s: how long the acceptance check's imports took.
    """

    name: str
    digest: str
    python: str
    roots: list[str]
    wheels: str
    bytes: int
    created_at: str
    warm_import_s: float


class Venvs:
    """A directory of venvs, one per environment digest.

    Args:
        root: shared by daemons of one user; a build holds a lock file.
        wheelhouse: where the wheels come from.
        pythons: ``X.Y`` to an interpreter, where the host's own choice is not wanted.
    """

    def __init__(self, root: Path, wheelhouse: Wheelhouse, pythons: Mapping[str, str]) -> None:
        self._root = root
        self._wheelhouse = wheelhouse
        self._pythons = pythons

    def build(self, environment: Environment, report: BuildProgress) -> BuiltEnvironment:
        """Return the venv of an environment, made where it is missing. Blocks.

        Raises:
            BackendRejected: no interpreter, no wheels, or the packages do not import here.
        """
        name = f"{environment.name}-{environment.digest[:12]}"
        target = self._root / name
        self._root.mkdir(parents=True, exist_ok=True)
        with exclusive(self._root / f".{name}.lock"):
            record = read_record(target)
            if record is None:
                record = self._make(environment, target, report)
        report(1.0, f"{environment.name} is ready")
        return _built(target, record)

    def built(self) -> Sequence[BuiltEnvironment]:
        """List the complete ones."""
        found = [(path, read_record(path)) for path in sorted(self._root.glob("[!.]*"))]
        return [_built(path, record) for path, record in found if record is not None]

    def _make(self, environment: Environment, target: Path, report: BuildProgress) -> VenvRecord:
        interpreter = interpreters.find(environment.python, self._pythons)
        wheels = self._wheelhouse.fetch(
            environment,
            lambda fraction, sentence: report(0.6 * fraction, sentence),
            glibc_minor=host_glibc_minor(),
        )
        part = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=self._root))
        try:
            report(0.6, f"installing {len(wheels.files)} packages")
            _install(interpreter.executable, environment, wheels, part)
            report(0.85, "compiling bytecode")
            _compile(part, target)
            report(0.95, "trying the imports")
            seconds = _try_imports(part, environment.warm_imports)
            record = _record(environment, interpreter, wheels, part, seconds)
            (part / RECORD).write_text(json.dumps(asdict(record)), encoding="utf-8")
            part.chmod(0o755)
            shutil.rmtree(target, ignore_errors=True)  # half of one, from before a crash
            part.replace(target)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return record


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


def _compile(part: Path, target: Path) -> None:
    # Unchecked pycs: the interpreter trusts them without a look at the source, at any mtime.
    # Tracebacks are to name the place where the venv will be, not where it was made.
    place = ["-s", str(part), "-p", str(target)]
    arguments = ["-m", "compileall", "-q", "-j0", "--invalidation-mode", "unchecked-hash", *place]
    site_packages = next((part / "lib").glob("python*/site-packages"))
    # Some wheels ship templates that are no valid Python; what matters is tried by the imports.
    _run([python_of(part), "-I", *arguments, str(site_packages)], "compiling", accept=(0, 1))


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


def _record(
    environment: Environment,
    interpreter: interpreters.Interpreter,
    wheels: Wheels,
    part: Path,
    seconds: float,
) -> VenvRecord:
    return VenvRecord(
        name=environment.name,
        digest=environment.digest,
        python=interpreter.executable,
        roots=list(interpreter.roots),
        wheels=wheels.digest,
        bytes=tree_bytes(part),
        created_at=datetime.now(UTC).isoformat(),
        warm_import_s=seconds,
    )


def _built(path: Path, record: VenvRecord) -> BuiltEnvironment:
    return BuiltEnvironment(
        name=record.name,
        backend="process",
        reference=str(path),
        digest=record.digest,
        bytes=record.bytes,
        created_at=datetime.fromisoformat(record.created_at),
        base=f"venv of {record.python}",
    )
