"""A complete environment of tiny wheels, made by hand: for tests without a network."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

from trainbox_plugins.environments.lock import sha256_of
from trainbox_sdk.environments import Environment

if TYPE_CHECKING:
    from pathlib import Path

MODULE = "trainbox_tiny"


def write_wheel(
    folder: Path,
    name: str,
    version: str,
    *requires: str,
    source: str = "",
    tag: str = "py3-none-any",
    pth: str = "",
) -> Path:
    """Write a wheel of one package into a folder (PEP 427).

    Args:
        folder: where.
        name: of package and distribution.
        version: of it.
        requires: what it depends on (PEP 508).
        source: of its ``__init__``.
        tag: interpreter, ABI and platform.
        pth: content of a ``.pth`` file, which interpreters run when they start; empty for none.
    """
    wheel = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {line}\n" for line in requires)
    files = {
        f"{name}/__init__.py": source,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    if pth:
        files[f"{name}.pth"] = pth
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(zipfile.ZipInfo(path), text)
    return wheel


def tiny_environment(
    folder: Path, *, name: str = "tiny", python: str = "3.11", source: str = "ANSWER = 42\n"
) -> Environment:
    """Write a wheel and its lock into ``folder``, which then serves as an offline wheelhouse."""
    wheel = write_wheel(folder, MODULE, "1.0", source=source)
    lock = folder / "requirements.lock"
    lock.write_text(f"{MODULE}==1.0 --hash=sha256:{sha256_of(wheel)}\n", encoding="utf-8")
    return Environment(name, python, lock, warm_imports=(MODULE,), names=(MODULE,))
