r"""Hash-locked requirements files, read just far enough to check wheels against them.

The format is pip's "hash-checking mode": ``name==version \\`` followed by ``--hash=sha256:<hex>``
options. pip remains the authority; this reader exists so that a cached wheel can be checked
without it.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from trainbox_sdk.errors import BackendRejected

if TYPE_CHECKING:
    from pathlib import Path

_PIN = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?\s*==\s*([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Pin:
    """One locked package: name as written, version, allowed sha256 sums."""

    name: str
    version: str
    hashes: frozenset[str]


def read_lock(path: Path) -> tuple[Pin, ...]:
    """Return the pins of a requirements file.

    Raises:
        BackendRejected: unreadable, or a requirement without version or hash.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BackendRejected(f"the lock {path} cannot be read: {error}") from error
    joined = re.sub(r"\\\s*\n", " ", text)
    pins = [_pin(path, line) for line in joined.splitlines() if _is_requirement(line)]
    if not pins:
        raise BackendRejected(f"the lock {path} names no package")
    return tuple(pins)


def _is_requirement(line: str) -> bool:
    stripped = line.strip()
    return bool(stripped) and not stripped.startswith(("#", "--"))


def _pin(path: Path, line: str) -> Pin:
    match = _PIN.match(line.strip())
    hashes = frozenset(_HASH.findall(line))
    if match is None or not hashes:
        raise BackendRejected(
            f"{path.name} is not a lock: {line.strip()[:80]!r} has no '==version' or no sha256",
            hint="make it with: uv pip compile --generate-hashes, or pip-compile --generate-hashes",
        )
    return Pin(match[1], match[2], hashes)


def sha256_of(path: Path) -> str:
    """Return a file's sha256 as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
