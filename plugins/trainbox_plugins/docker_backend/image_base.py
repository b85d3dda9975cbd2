"""What an environment's image begins with: a registry's image, or a Debian root made on this host.

Such a root has no Python of its own where a prefix of the wanted version is on this host: then
every version stands on one root. Else it is Debian's own Python, for the versions that Debian has.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from trainbox_plugins.docker_backend import bootstrap
from trainbox_plugins.docker_backend.engine_port import EnginePort, EngineRefused
from trainbox_plugins.environments.cache import default_cache_dir
from trainbox_plugins.environments.prefixes import PACKAGE_OF, Prefix, find_prefix
from trainbox_plugins.environments.wheelhouse import IMAGE_GLIBC
from trainbox_sdk.environments import BuildProgress, Environment
from trainbox_sdk.errors import BackendRejected

BASE = "trainbox.base"
DIGEST = "trainbox.environment.digest"
SUITE = "bookworm"
"""The release whose glibc is :data:`~trainbox_plugins.environments.wheelhouse.IMAGE_GLIBC`."""


@dataclass(frozen=True)
class ImageSettings:
    """How images are made.

    Attributes:
        cache_dir: wheels and Debian packages.
        wheelhouse: directory of wheels to take instead of asking an index.
        registry_base: image with Python to build on, by Python version or with ``{version}`` in
            its name; None, or a version that is not there, makes a Debian root on this host.
        python_prefixes: ``X.Y`` to the relocatable CPython to put into such a root.
    """

    cache_dir: Path = field(default_factory=default_cache_dir)
    wheelhouse: Path | None = None
    registry_base: str | Mapping[str, str] | None = None
    python_prefixes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Ground:
    """What a build begins with.

    Attributes:
        image: id of an image of this engine.
        title: where it comes from, for people.
        prefix: the Python to put into it; None where it has its own as ``python3``.
        is_environment: whether it is an environment already, to be changed.
    """

    image: str
    title: str
    prefix: Prefix | None = None
    is_environment: bool = False


class Bases:
    """Finds or makes what images begin with; one root at a time.

    Args:
        engine: where.
        settings: how.
    """

    def __init__(self, engine: EnginePort, settings: ImageSettings) -> None:
        self._engine = engine
        self._settings = settings
        self._making = asyncio.Lock()

    async def ground(self, environment: Environment, report: BuildProgress) -> Ground:
        """Return what to build an environment on.

        Raises:
            BackendRejected: ``no_base``; names every way to one.
        """
        reference = registry_reference(self._settings.registry_base, environment.python)
        async with self._making:
            if reference is not None:
                return await self._pulled(reference, report)
            return await self._made(environment, report)

    async def _made(self, environment: Environment, report: BuildProgress) -> Ground:
        prefix, base = await asyncio.to_thread(self._choose, environment)
        title = base.title if prefix is None else f"{base.title}, CPython {prefix.release}"
        found = await self._engine.image_list({BASE: base.digest})
        # Images of environments inherit the label.
        bases = [image for image in found if DIGEST not in (image.get("Labels") or {})]
        if bases:
            return Ground(str(bases[0]["Id"]), title, prefix)
        tar = await asyncio.to_thread(
            bootstrap.make_root_tar, base, self._settings.cache_dir / "debian", report
        )
        try:
            image = await self._engine.image_import(tar, changes=[f"LABEL {BASE}={base.digest}"])
        finally:
            tar.unlink(missing_ok=True)
        await self._engine.image_tag(image, "trainbox/base", base.digest[:12])
        return Ground(image, title, prefix)

    def _choose(self, environment: Environment) -> tuple[Prefix | None, bootstrap.Base]:
        version = environment.python
        prefix, refused = find_prefix(version, self._settings.python_prefixes, IMAGE_GLIBC)
        if prefix is not None:
            packages = sorted({*PACKAGE_OF.values(), *environment.system_packages})
            return prefix, bootstrap.Base(SUITE, tuple(packages))
        if version in self._settings.python_prefixes or version not in bootstrap.SUITE_OF_PYTHON:
            raise no_python(version, refused)
        return None, bootstrap.base_for(version, environment.system_packages)

    async def _pulled(self, reference: str, report: BuildProgress) -> Ground:
        found = await self._engine.image_inspect(reference)
        if found is None:
            report(0.0, f"pulling {reference}")
            try:
                await self._engine.image_pull(reference)
            except EngineRefused as refused:
                raise BackendRejected(
                    f"the base image {reference} cannot be pulled: {refused.explanation}",
                    code="no_base",
                    hint="check registry_base and the engine's registry settings, load the image "
                    "with docker load, or unset registry_base to make a Debian base on this host",
                ) from refused
            found = await self._engine.image_inspect(reference)
        if found is None:
            raise BackendRejected(f"{reference} was pulled and is not there", code="no_base")
        return Ground(str(found["Id"]), reference)


def registry_reference(setting: str | Mapping[str, str] | None, version: str) -> str | None:
    """Return the image that ``registry_base`` means for a Python version, or None for none."""
    if setting is None or isinstance(setting, str):
        return setting and setting.replace("{version}", version)
    return setting.get(version)


def no_python(version: str, refused: list[str]) -> BackendRejected:
    """Say that no Python of a version can be put into an image here, and every way to one."""
    looked = f" ({'; '.join(refused)})" if refused else ""
    return BackendRejected(
        f"there is no relocatable Python {version} on this host{looked}",
        code="no_base",
        hint=f"install one with `uv python install {version}` (behind a firewall with "
        "UV_PYTHON_INSTALL_MIRROR) or pyenv, name one in python_prefixes or "
        "TRAINBOX_PYTHON_PREFIXES, set registry_base to an image with that Python, or load an "
        "environment made elsewhere (docker save | docker load)",
    )
