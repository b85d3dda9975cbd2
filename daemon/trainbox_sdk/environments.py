"""Environments are data: a name, a Python, and a hash-locked list of packages."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol, runtime_checkable


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
        for_wishes: whether it was made for a user's requirements; such are removed again.
        used_at: when a step last asked for it, where that is known.
        packages: what is installed, as ``name==version``, where that is known.
    """

    name: str
    backend: str
    reference: str
    digest: str
    bytes: int
    created_at: datetime
    base: str = ""
    for_wishes: bool = False
    used_at: datetime | None = field(default=None, compare=False)
    packages: tuple[str, ...] = ()


BuildProgress = Callable[[float, str], None]
"""Called with a fraction in [0, 1] and a sentence, from any thread."""


@runtime_checkable
class EnvironmentKeeper(Protocol):
    """What a backend may offer beside building: a second look, and clearing up."""

    async def verify_environment(self, environment: Environment) -> BuiltEnvironment:
        """Try what was built once more, and hold what is in it to the lock.

        Raises:
            NotFound: it is not built here.
            BackendRejected: it does not import, or holds what the lock does not.
        """

    async def prune_environments(self, *, keep: int, unused_s: float) -> Sequence[BuiltEnvironment]:
        """Remove environments made for users' requirements, and return them.

        Args:
            keep: the last used of them stay, as many as this.
            unused_s: the others go when no step asked for them for so many seconds; one that a
                sandbox runs in stays.
        """
