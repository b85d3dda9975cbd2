"""Find a Python of a wanted version on this host, and learn where it lives."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from trainbox_plugins.environments.prefixes import candidates
from trainbox_sdk.errors import BackendRejected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ASK = (
    "import json,os,sys;print(json.dumps(["
    "'%d.%d'%sys.version_info[:2],sys.executable,sys.base_prefix,sys.base_exec_prefix,"
    "os.path.realpath(sys.executable)]))"
)
_ASK_TIMEOUT_S = 20


@dataclass(frozen=True)
class Interpreter:
    """One Python.

    Attributes:
        version: ``X.Y``.
        executable: what to start.
        roots: the directories it is made of, to be readable in a sandbox.
    """

    version: str
    executable: str
    roots: tuple[str, ...]


def ask(executable: str) -> Interpreter | None:
    """Return what an executable says of itself, or None where it is no working Python."""
    try:
        answer = subprocess.run(
            [executable, "-I", "-S", "-c", _ASK],
            capture_output=True,
            timeout=_ASK_TIMEOUT_S,
            check=True,
            env={"PATH": os.environ.get("PATH", "")},
        )
        version, given, prefix, exec_prefix, real = json.loads(answer.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    roots = (prefix, exec_prefix, str(Path(real).parent.parent))
    return Interpreter(version, given, tuple(dict.fromkeys(roots)))


def find(version: str, configured: Mapping[str, str]) -> Interpreter:
    """Return a Python ``version``: the configured one, the daemon's own, a prefix, one on PATH.

    Raises:
        BackendRejected: there is none.
    """
    tried: list[str] = []
    for candidate in dict.fromkeys(_candidates(version, configured)):
        found = ask(candidate)
        if found is not None and found.version == version:
            return found
        tried.append(candidate)
    raise BackendRejected(
        f"no Python {version} on this host (tried {', '.join(tried) or 'nothing'})",
        code="python_missing",
        hint=f"install it (`uv python install {version}`, behind a firewall with "
        f'UV_PYTHON_INSTALL_MIRROR), or set pythons = {{ "{version}" = "/path/to/python" }} '
        "for the process backend in plugins.toml",
    )


def _candidates(version: str, configured: Mapping[str, str]) -> Iterator[str]:
    if version in configured:
        yield configured[version]
        return
    # A venv's own interpreter would chain venvs; its base is the same Python.
    yield getattr(sys, "_base_executable", None) or sys.executable
    for prefix in candidates(version, {}):  # the same that images are made with
        yield str(prefix / "bin" / f"python{version}")
    for name in (f"python{version}", "python3"):
        found = shutil.which(name)
        if found:
            yield found
    yield f"/usr/bin/python{version}"
    yield f"/usr/local/bin/python{version}"
