"""The locked environment of the sandbox."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

import trainbox_plugins.onnx_kit
import trainbox_plugins.tabular

HOME = Path(trainbox_plugins.tabular.__file__).parent
LOCK = (HOME / "environment" / "requirements.lock").read_text()
PINS = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK, flags=re.MULTILINE))


def imported() -> set[str]:
    roots = set()
    for folder in (HOME / "guest", Path(trainbox_plugins.onnx_kit.__file__).parent):
        for path in folder.glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    roots |= {alias.name.split(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and node.module:
                    roots.add(node.module.split(".")[0])
    ours = {"trainbox_plugins", "trainbox_guest"}
    return roots - ours - set(sys.stdlib_module_names)


def test_everything_the_guest_imports_is_locked():
    assert imported() >= {"catboost", "onnxruntime"}
    assert imported() <= set(PINS), imported() - set(PINS)


def test_pip_is_locked_too():
    assert "pip" in PINS


def test_every_pin_has_hashes():
    blocks = re.split(r"\n(?=[a-z])", LOCK.strip())
    assert len(blocks) == len(PINS)
    for block in blocks:
        assert "--hash=sha256:" in block, block.splitlines()[0]


@pytest.mark.parametrize(
    "trace", ["://", "/tmp", "/opt", "/home", "/work", "index-url", "find-links"]
)
def test_lock_names_no_host_or_local_path(trace):
    assert trace not in LOCK
