"""Environments are data: a name, a Python, and a hash-locked list of packages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """What a step's interpreter can import. A backend turns it into an image or a venv.

    Attributes:
        name: logical name a plan refers to, such as ``tabular``.
        python: ``X.Y`` of the interpreter the lock was resolved for.
        requirements: hash-locked requirements file (``pip --require-hashes`` format).
        system_packages: Debian packages the wheels need at run time, such as ``libgomp1``.
        warm_imports: modules whose import is compiled and tried at build time.
        wishes: requirements files of a user (PEP 508 lines, no options, no URLs), resolved by the
            builder in a step of its own on top of ``names``, before anything else is done.
        names: the packages that ``requirements`` was resolved from; the lock's pins are preferred
            where ``wishes`` leave a choice.
    """

    name: str
    python: str
    requirements: Path
    system_packages: tuple[str, ...] = ()
    warm_imports: tuple[str, ...] = ()
    wishes: tuple[Path, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 over everything that decides the content, as hex."""
        h = hashlib.sha256()
        for part in (self.name, self.python, *self.system_packages, "--", *self.warm_imports):
            h.update(part.encode() + b"\0")
        h.update(self.requirements.read_bytes())
        for wish in self.wishes:
            h.update(b"--" + hashlib.sha256(wish.read_bytes()).digest())
        return h.hexdigest()


@dataclass(frozen=True)
class BuiltEnvironment:
    """An environment that a backend has ready to run.

    Attributes:
        reference: what the backend starts, opaque to the engine: an image id or a directory.
        digest: digest of the :class:`Environment` it was built from.
        bytes: size on disk.
        base: where the root came from, such as ``debian:bookworm (debootstrap)``.
    """

    name: str
    backend: str
    reference: str
    digest: str
    bytes: int
    created_at: datetime
    base: str = ""


BuildProgress = Callable[[float, str], None]
"""Called with a fraction in [0, 1] and a sentence, from any thread."""
