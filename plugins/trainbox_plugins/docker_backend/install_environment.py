"""Runs inside a throw-away container with no network: wheels in, a compiled environment out.

Standard library only, any Python the base brings; ``/mnt`` holds the wheels, the lock and pip, and
is a mount, so that nothing of it can stay in the image. Where an environment is there already, it
becomes what the lock says: what differs is replaced, the rest stays as it lies in the layer below.

Arguments: ``X.Y`` that the lock is for, then modules whose import shall find everything compiled.
"""

from __future__ import annotations

import os
import py_compile
import re
import subprocess
import sys
import sysconfig
from concurrent.futures import ProcessPoolExecutor
from importlib import metadata

PREFIX = "/opt/trainbox"
_MNT = "/mnt"
_PYTHON = f"{PREFIX}/bin/python"
_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)")


def main() -> None:
    """Make the environment at :data:`PREFIX`, or change the one that is there."""
    here = "{}.{}".format(*sys.version_info[:2])
    if here != sys.argv[1]:
        sys.exit(f"the base has Python {here}, the lock is for {sys.argv[1]}")
    fresh = not os.path.exists(f"{PREFIX}/pyvenv.cfg")  # noqa: PTH110 - a script, kept small
    if fresh:
        subprocess.run([sys.executable, "-I", "-m", "venv", "--without-pip", PREFIX], check=True)
    before = {} if fresh else _installed()
    wanted = _wanted()
    changed = {name for name in wanted if before.get(name) != wanted[name][0]}
    _pip("uninstall", "--yes", sorted(before.keys() - wanted.keys()))
    _pip("install", *_offline(), _lock_of(wanted, changed))
    print("compiling bytecode", flush=True)  # noqa: T201 - the builder reads it
    sources = _library() if fresh else []
    for distribution in _distributions():
        if _normal(distribution.metadata["Name"]) in changed:
            files = [str(file.locate()) for file in distribution.files or ()]
            sources += [path for path in files if path.endswith(".py") and "/tests/" not in path]
    _compile(sources)
    _compile(_imported_from_tests(sys.argv[2:]))


def _site() -> str:
    version = sys.argv[1]
    return f"{PREFIX}/lib/python{version}/site-packages"


def _distributions() -> list[metadata.Distribution]:
    return list(metadata.distributions(path=[_site()]))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed() -> dict[str, str]:
    return {_normal(one.metadata["Name"]): one.version for one in _distributions()}


def _wanted() -> dict[str, tuple[str, str]]:
    """Return version and whole requirement of each locked package."""
    with open(f"{_MNT}/requirements.lock", encoding="utf-8") as file:  # noqa: PTH123
        lines = re.sub(r"\\\s*\n", " ", file.read()).splitlines()
    matches = [(_PIN.match(line.strip()), line) for line in lines]
    return {_normal(match[1]): (match[2], line) for match, line in matches if match}


def _lock_of(wanted: dict[str, tuple[str, str]], changed: set[str]) -> list[str]:
    if not changed:
        return []
    path = "/tmp/requirements.lock"  # noqa: S108 - a tmpfs of this container alone
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write("\n".join(wanted[name][1] for name in sorted(changed)) + "\n")
    return [f"--requirement={path}"]


def _offline() -> tuple[str, ...]:
    source = ("--no-index", f"--find-links={_MNT}/wheels", "--require-hashes")
    return (*source, "--no-deps", "--no-compile", "--no-warn-script-location")


def _pip(verb: str, *arguments: str | list[str]) -> None:
    flat = [*arguments[:-1], *arguments[-1]]
    if not arguments[-1]:  # nothing to do
        return
    pip = f"{_MNT}/pip.whl/pip" if os.path.exists(f"{_MNT}/pip.whl") else f"{_MNT}/pip"  # noqa: PTH110
    options = ["--no-input", "--disable-pip-version-check", "--no-cache-dir", "--isolated"]
    quiet = "--root-user-action=ignore"
    subprocess.run([_PYTHON, "-I", pip, *options, verb, quiet, *flat], check=True)


def _library() -> list[str]:
    """Return the sources of the standard library."""
    found = []
    for folder, folders, files in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = [name for name in folders if name not in ("site-packages", "dist-packages")]
        found += [f"{folder}/{name}" for name in files if name.endswith(".py")]
    return found


def _imported_from_tests(modules: list[str]) -> list[str]:
    """Return files in folders of tests that imports need all the same, such as NumPy's."""
    code = (
        "import sys\n"
        f"import {', '.join(modules)}\n"
        "for module in list(sys.modules.values()):\n"
        "    path = getattr(module, '__file__', None) or ''\n"
        "    if '/tests/' in path and path.endswith('.py'): print(path)\n"
    )
    if not modules:
        return []
    command = [_PYTHON, "-I", "-B", "-c", code]
    # Whether they import at all is tried later, as a sandbox would.
    asked = subprocess.run(command, capture_output=True, text=True, check=False)
    return asked.stdout.split() if asked.returncode == 0 else []


def _compile(sources: list[str]) -> None:
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for _ in pool.map(_compile_one, sources, chunksize=64):
            pass


def _compile_one(source: str) -> None:
    # Unchecked: trusted without a look at the source, whatever layers do to modification times.
    # Some wheels ship templates that are no valid Python; what matters is tried by the imports.
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(source, doraise=False, quiet=2, invalidation_mode=mode)


if __name__ == "__main__":
    main()
