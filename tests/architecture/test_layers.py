"""The import contracts hold, cover everything, and catch each violation they are meant to."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .conftest import ROOT, SOURCES

LIBRARIES = {"backend_kit", "environments", "onnx_kit"}
LINT = (
    "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
)

# One line per contract, written into a copy of the sources.
VIOLATIONS = {
    "packages": ("plugins/trainbox_plugins/native/wire.py", "import trainbox.clock"),
    "rooms": ("daemon/trainbox/store/records.py", "import trainbox.plugins"),
    "strangers": ("plugins/trainbox_plugins/native/wire.py", "import trainbox_plugins.tabular"),
    "libraries": ("plugins/trainbox_plugins/onnx_kit/graph.py", "import trainbox_plugins.tabular"),
    "settings": ("daemon/trainbox/engine/scheduler.py", "import trainbox.settings"),
    "sql": ("daemon/trainbox/engine/intake.py", "import sqlite3"),
    "core": ("daemon/trainbox/engine/events.py", "import aiohttp"),
    "web": ("plugins/trainbox_plugins/tabular/params.py", "import aiohttp"),
    "containers": ("daemon/trainbox/clock.py", "import docker"),
    "training": ("plugins/trainbox_plugins/tabular/plugin.py", "def f():\n    import catboost"),
    "guest": ("sandbox/trainbox_guest/emit.py", "import pydantic"),
    "client": ("client/trainbox_client/locate.py", "import trainbox_sdk.errors"),
    "circles": ("sandbox/trainbox_guest/protocol.py", "import trainbox_guest.emit"),
}


def contracts() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / ".importlinter")
    return parser


def lint(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LINT],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_layers_hold() -> None:
    done = lint(ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_contract_catches_its_violation(tmp_path: Path) -> None:
    for name in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / ".importlinter", tmp_path)
    for relative, line in VIOLATIONS.values():
        path = tmp_path / relative
        path.write_text(f"{path.read_text()}\n{line}\n")
    path_of_copy = os.pathsep.join(str(tmp_path / name) for name in SOURCES)
    done = lint(tmp_path, PYTHONPATH=path_of_copy, COLUMNS="300")
    assert done.returncode == 1, done.stdout + done.stderr
    parser = contracts()
    sections = [name for name in parser.sections() if name.startswith("importlinter:contract:")]
    assert {name.rpartition(":")[2] for name in sections} == set(VIOLATIONS)
    kept = [name for name in sections if f"{parser[name]['name']} BROKEN" not in done.stdout]
    assert not kept, done.stdout


def test_every_bundled_plugin_is_a_stranger_to_the_others() -> None:
    folder = ROOT / "plugins/trainbox_plugins"
    present = {path.name for path in folder.iterdir() if (path / "__init__.py").is_file()}
    listed = contracts()["importlinter:contract:strangers"]["modules"].split()
    assert {f"trainbox_plugins.{name}" for name in present - LIBRARIES} == set(listed)
