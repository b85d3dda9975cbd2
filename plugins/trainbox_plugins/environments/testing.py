"""A complete environment of one tiny wheel, made by hand: for tests without a network."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from trainbox_plugins.environments.lock import sha256_of
from trainbox_sdk.environments import Environment

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "trainbox_tiny"


def tiny_environment(
    folder: Path, *, name: str = "tiny", python: str = "3.11", source: str = "ANSWER = 42\n"
) -> Environment:
    """Write a wheel and its lock into ``folder``, which then serves as an offline wheelhouse."""
    wheel = folder / f"{MODULE}-1.0-py3-none-any.whl"
    info = f"{MODULE}-1.0.dist-info"
    files = {
        f"{MODULE}/__init__.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    lock = folder / "requirements.lock"
    lock.write_text(f"{MODULE}==1.0 --hash=sha256:{sha256_of(wheel)}\n", encoding="utf-8")
    return Environment(name, python, lock, warm_imports=(MODULE,))
