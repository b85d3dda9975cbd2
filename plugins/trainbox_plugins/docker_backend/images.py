"""Environments as images: a base, a locked set of wheels, compiled, tried, pinned by id.

No build context and no Dockerfile cache: a container of the base, without network, installs from
a read-only mount and is committed as one layer (``docs/adr/0005-environments-as-data.md``).
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from trainbox_plugins.docker_backend import bootstrap, install_environment
from trainbox_plugins.docker_backend.engine_port import EnginePort, EngineRefused
from trainbox_plugins.environments.cache import default_cache_dir
from trainbox_plugins.environments.pip import pip_package
from trainbox_plugins.environments.wheelhouse import Wheelhouse, Wheels
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
from trainbox_sdk.errors import BackendRejected

ENVIRONMENT = "trainbox.environment"
DIGEST = "trainbox.environment.digest"
BASE = "trainbox.base"
WHEELS = "trainbox.environment.wheels"
CREATED = "trainbox.environment.created"
IMPORT_S = "trainbox.environment.import_s"
BUILDING = "trainbox.building"
"""Label of the throw-away containers, so that a crashed build's can be told from sandboxes."""
BUILDING_FOR = "trainbox.building.digest"

PYTHON = f"{install_environment.PREFIX}/bin/python"
_USER = "10001:10001"
_LOG_BYTES = 64 * 1024
_INSTALL_MEMORY = 4 * 1024**3


@dataclass(frozen=True)
class ImageSettings:
    """How images are made.

    Attributes:
        cache_dir: wheels and Debian packages.
        wheelhouse: directory of wheels to take instead of asking an index.
        registry_base: image with Python to build on; None makes a Debian root on this host.
    """

    cache_dir: Path = field(default_factory=default_cache_dir)
    wheelhouse: Path | None = None
    registry_base: str | None = None


class ImageBuilder:
    """Builds environment images on one engine; the same digest is built once.

    Args:
        engine: where.
        settings: how; TRAINBOX_WHEELHOUSE stands in for a wheelhouse that is not set.
    """

    def __init__(self, engine: EnginePort, settings: ImageSettings | None = None) -> None:
        self._engine = engine
        self._settings = settings or ImageSettings()
        offline = self._settings.wheelhouse or _path(os.environ.get("TRAINBOX_WHEELHOUSE"))
        self._wheelhouse = Wheelhouse(self._settings.cache_dir / "wheels", offline)
        self._building = asyncio.Lock()

    async def build(self, environment: Environment, report: BuildProgress) -> BuiltEnvironment:
        """Return the image of an environment, building what is missing.

        Raises:
            BackendRejected: it cannot be built here, and what would help.
            BackendUnavailable: the engine is away.
        """
        async with self._building:
            found = await self._find(environment)
            if found is None:
                found = await self._make_or_say_why(environment, report)
        report(1.0, f"{environment.name} is ready")
        return found

    async def built(self) -> Sequence[BuiltEnvironment]:
        """List environment images, newest first."""
        images = await self._engine.image_list({})
        labelled = [image for image in images if (image.get("Labels") or {}).get(DIGEST)]
        return [_described(image, image["Labels"]) for image in labelled]

    async def _find(self, environment: Environment) -> BuiltEnvironment | None:
        images = await self._engine.image_list({DIGEST: environment.digest})
        return _described(images[0], images[0]["Labels"]) if images else None

    async def _make_or_say_why(
        self, environment: Environment, report: BuildProgress
    ) -> BuiltEnvironment:
        try:
            return await self._make(environment, report)
        except EngineRefused as refused:
            raise BackendRejected(
                f"the engine refuses to build {environment.name}: {refused.explanation}",
                code="environment_broken",
                hint="look at the engine's journal and at the room on its disk",
            ) from refused

    async def _make(self, environment: Environment, report: BuildProgress) -> BuiltEnvironment:
        wheels = await asyncio.to_thread(
            self._wheelhouse.fetch, environment, _part(report, 0.0, 0.3)
        )
        base, title = await self._base(environment, _part(report, 0.3, 0.6))
        report(0.6, f"installing {len(wheels.files)} packages")
        labels = _labels(environment, wheels, title)
        image = await self._install(environment, wheels, base, labels)
        report(0.95, "trying the imports without network")
        seconds = await self._try_imports(image, environment)
        report(0.99, f"imports take {seconds:.2f} s")
        await self._engine.image_tag(
            image, f"trainbox/env-{environment.name}", environment.digest[:12]
        )
        found = await self._find(environment)
        if found is None:
            raise BackendRejected(f"the image of {environment.name} was removed while it was built")
        return found

    # --- the base

    async def _base(self, environment: Environment, report: BuildProgress) -> tuple[str, str]:
        if self._settings.registry_base:
            return await self._registry_base(self._settings.registry_base, report)
        base = bootstrap.base_for(environment.python, environment.system_packages)
        found = await self._engine.image_list({BASE: base.digest})
        bases = [image for image in found if not (image.get("Labels") or {}).get(DIGEST)]
        if bases:
            return str(bases[0]["Id"]), base.title
        tar = await asyncio.to_thread(
            bootstrap.make_root_tar, base, self._settings.cache_dir / "debian", report
        )
        try:
            image = await self._engine.image_import(tar, changes=[f"LABEL {BASE}={base.digest}"])
        finally:
            tar.unlink(missing_ok=True)
        await self._engine.image_tag(image, "trainbox/base", base.digest[:12])
        return image, base.title

    async def _registry_base(self, reference: str, report: BuildProgress) -> tuple[str, str]:
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
        return str(found["Id"]), reference

    # --- the packages

    async def _install(
        self, environment: Environment, wheels: Wheels, base: str, labels: Mapping[str, str]
    ) -> str:
        with _staged(environment, wheels, self._settings.cache_dir) as stage:
            body = _install_body(base, stage, environment)
            container = await self._engine.create(f"trainbox-build-{uuid.uuid4().hex[:12]}", body)
            try:
                await self._run(container, f"installing {environment.name}")
                changes = [
                    f"USER {_USER}",
                    "WORKDIR /tmp",
                    f'CMD ["{PYTHON}"]',
                    *(f"LABEL {key}={json.dumps(value)}" for key, value in labels.items()),
                    *(f'LABEL {key}=""' for key in (BUILDING, BUILDING_FOR)),
                ]
                return await self._engine.commit(container, changes=changes)
            finally:
                await self._engine.remove(container, force=True)

    async def _try_imports(self, image: str, environment: Environment) -> float:
        """Import as a sandbox would: another user, no network, nothing writable."""
        container = await self._engine.create(
            f"trainbox-build-{uuid.uuid4().hex[:12]}", _import_body(image, environment)
        )
        try:
            said = await self._run(container, f"the acceptance check of {environment.name}")
            return float(said.decode().split()[-1])
        except BackendRejected:
            await self._engine.remove(container, force=True)
            await self._engine.image_remove(image)
            raise
        finally:
            await self._engine.remove(container, force=True)

    async def _run(self, container: str, doing: str) -> bytes:
        await self._engine.start(container)
        code = await asyncio.to_thread(self._engine.wait_exit, container)
        said = await asyncio.to_thread(self._output, container)
        if code != 0:
            last = said.decode(errors="replace").strip()[-800:]
            raise BackendRejected(
                f"{doing} failed with exit code {code}: {last}", code="environment_broken"
            )
        return said

    def _output(self, container: str) -> bytes:
        stream = self._engine.kept_output(container, follow=False)
        try:
            return b"".join(piece for _, piece in stream)[-_LOG_BYTES:]
        finally:
            stream.close()


def _install_body(base: str, stage: Path, environment: Environment) -> dict[str, Any]:
    source = Path(install_environment.__file__).read_text(encoding="utf-8")
    # The one interpreter every base has on its PATH, whatever the directory.
    command = f"exec python3 -I -c {shlex.quote(source)} {environment.python}"
    return {
        "Image": base,
        "Entrypoint": [],
        "Cmd": ["/bin/sh", "-c", command],
        "User": "0:0",
        "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "HOME=/tmp"],
        "Labels": {BUILDING: "1", BUILDING_FOR: environment.digest},
        "HostConfig": {
            "NetworkMode": "none",
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Tmpfs": {"/tmp": "rw,nosuid,nodev,size=512m"},  # noqa: S108
            "Mounts": [{"Type": "bind", "Source": str(stage), "Target": "/mnt", "ReadOnly": True}],
            "Memory": _INSTALL_MEMORY,
            "PidsLimit": 256,
            "Init": True,
        },
    }


def _import_body(image: str, environment: Environment) -> dict[str, Any]:
    modules = ", ".join(environment.warm_imports) or "sys"
    code = f"import time; t = time.perf_counter(); import {modules}; print(time.perf_counter() - t)"
    return {
        "Image": image,
        "Cmd": [PYTHON, "-I", "-B", "-c", code],
        "User": _USER,
        "Env": ["LANG=C.UTF-8", "HOME=/tmp", "PATH=/usr/local/bin:/usr/bin:/bin"],
        "Labels": {BUILDING: "1", BUILDING_FOR: environment.digest},
        "HostConfig": {
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges:true"],
            "Tmpfs": {"/tmp": "rw,nosuid,nodev,noexec,size=64m,mode=1777"},  # noqa: S108
            "Memory": _INSTALL_MEMORY,
            "PidsLimit": 256,
            "Init": True,
        },
    }


def _labels(environment: Environment, wheels: Wheels, base: str) -> dict[str, str]:
    return {
        ENVIRONMENT: environment.name,
        DIGEST: environment.digest,
        "trainbox.environment.base": base,
        WHEELS: wheels.digest,
        CREATED: datetime.now(UTC).isoformat(),
    }


def _described(image: Mapping[str, Any], labels: Mapping[str, str]) -> BuiltEnvironment:
    return BuiltEnvironment(
        name=labels.get(ENVIRONMENT, ""),
        backend="docker",
        reference=str(image["Id"]),
        digest=labels[DIGEST],
        bytes=int(image.get("Size") or 0),
        created_at=datetime.fromisoformat(labels[CREATED]),
        base=labels.get("trainbox.environment.base", ""),
    )


@contextmanager
def _staged(environment: Environment, wheels: Wheels, cache: Path) -> Iterator[Path]:
    """Lay out what the install container sees at /mnt; wheels are linked where possible."""
    stage = Path(tempfile.mkdtemp(prefix=".stage-", dir=cache))
    try:
        stage.chmod(0o755)
        (stage / "wheels").mkdir()
        for name in wheels.files:
            _link_or_copy(wheels.directory / name, stage / "wheels" / name)
        shutil.copyfile(environment.requirements, stage / "requirements.lock")
        pip = pip_package()
        if pip.suffix == ".whl":
            shutil.copyfile(pip, stage / "pip.whl")
        else:
            shutil.copytree(pip, stage / "pip", ignore=shutil.ignore_patterns("__pycache__"))
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        shutil.copyfile(source, target)


def _part(report: BuildProgress, start: float, end: float) -> BuildProgress:
    return lambda fraction, sentence: report(start + (end - start) * fraction, sentence)


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
