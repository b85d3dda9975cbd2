"""Environments as images: a base, a locked set of wheels, compiled, tried, pinned by id.

No build context and no Dockerfile cache: a container of the base, without network, installs from
a read-only mount and is committed as one layer (``docs/adr/0005-environments-as-data.md``).
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

from trainbox_plugins.docker_backend.engine_port import Clash, EnginePort, EngineRefused, Json
from trainbox_plugins.docker_backend.image_base import DIGEST, Bases, Ground, ImageSettings
from trainbox_plugins.docker_backend.image_containers import (
    BUILDING,
    BUILDING_FOR,
    PYTHON,
    USER,
    import_body,
    install_body,
    staged,
)
from trainbox_plugins.environments.cache import Uses, exclusive_async
from trainbox_plugins.environments.contents import bill_of, packages_in, strangers_in
from trainbox_plugins.environments.lock import read_lock
from trainbox_plugins.environments.resolve import Resolver
from trainbox_plugins.environments.surplus import KEEP, UNUSED_S, surplus
from trainbox_plugins.environments.wheelhouse import IMAGE_GLIBC, Wheelhouse, Wheels
from trainbox_sdk.environments import BuildProgress, BuiltEnvironment, Environment
from trainbox_sdk.errors import BackendRejected, NotFound

ENVIRONMENT = "trainbox.environment"
WHEELS = "trainbox.environment.wheels"
PACKAGES = "trainbox.environment.packages"
"""The bill of materials: ``name==version@sha256:<hex>`` of every wheel."""
WISHES = "trainbox.environment.wishes"
"""``1`` on what was made for a user's requirements: it may go when nobody asks for it."""
FOUNDATION = "trainbox.environment.base"
CREATED = "trainbox.environment.created"
BUILD_TIMEOUT_S = 1800.0
"""Seconds after which a container of a build is killed."""
PARALLEL = 2
"""Builds at a time: one unpacks while another compiles."""
_LOG_BYTES = 64 * 1024


@dataclass(frozen=True)
class _Recipe:
    """One build: what it is called, and what it installs.

    Attributes:
        digest: of the environment as it was asked for, wishes and all.
        lock: what is installed.
    """

    environment: Environment
    digest: str
    lock: Path
    wheels: Wheels


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
        cache = self._settings.cache_dir
        self._wheelhouse = Wheelhouse(cache / "wheels", offline)
        self._resolver = Resolver(cache / "locks", offline)
        self._uses = Uses(cache / "used")
        self._bases = Bases(engine, self._settings)
        self._slots = asyncio.Semaphore(PARALLEL)
        self._building: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def build(self, environment: Environment, report: BuildProgress) -> BuiltEnvironment:
        """Return the image of an environment, building what is missing.

        Raises:
            BackendRejected: it cannot be built here, and what would help.
            BackendUnavailable: the engine is away.
        """
        digest = await asyncio.to_thread(lambda: environment.digest)
        # Neither twice by this process, nor by a command beside the daemon.
        held = exclusive_async(self._settings.cache_dir / "locks" / f".image-{digest[:32]}.held")
        async with self._building.setdefault(digest, asyncio.Lock()), held:
            found = await self._find(digest)
            if found is None:
                # First, and outside of a slot: it needs one of its own.
                below = await self._below(environment, report)
                async with self._slots:
                    found = await self._make_or_say_why(environment, digest, below, report)
        await asyncio.to_thread(self._uses.note, found.digest)
        report(1.0, f"{environment.name} is ready")
        return found

    async def built(self) -> Sequence[BuiltEnvironment]:
        """List environment images, newest first; of two of one environment, the one with a tag.

        Builders that share an engine and no cache make twins, and the last one takes the tag.
        """
        images = await self._engine.image_list({})
        labelled = [image for image in images if (image.get("Labels") or {}).get(DIGEST)]
        chosen: dict[str, Json] = {}
        for image in sorted(labelled, key=_has_tag, reverse=True):
            chosen.setdefault(image["Labels"][DIGEST], image)
        kept = {image["Id"] for image in chosen.values()}
        return [self._described(each, each["Labels"]) for each in labelled if each["Id"] in kept]

    async def verify(self, environment: Environment) -> BuiltEnvironment:
        """Import once more without network, and hold the bill of materials to the lock.

        Raises:
            NotFound: it is not built here.
            BackendRejected: ``environment_broken``.
        """
        images = await self._engine.image_list({DIGEST: environment.digest})
        if not images:
            raise NotFound(f"no image of {environment.name} is built from this lock")
        labels = images[0]["Labels"]
        if PACKAGES in labels:  # images of earlier releases have none
            strange = strangers_in(labels[PACKAGES], read_lock(environment.requirements))
            if strange:
                raise BackendRejected(
                    f"the image of {environment.name} does not hold what its lock says: "
                    f"{', '.join(strange[:5])}",
                    code="environment_broken",
                )
        await self._try_imports(str(images[0]["Id"]), environment, environment.digest)
        return self._described(images[0], labels)

    async def prune(self, *, keep: int, unused_s: float) -> Sequence[BuiltEnvironment]:
        """Remove images of users' requirements that nobody asks for; see the SDK's protocol."""
        chosen = surplus(await self.built(), keep=keep, unused_s=unused_s, now=datetime.now(UTC))
        removed = [one for one in chosen if await self._removed(one)]
        await asyncio.to_thread(self._wheelhouse.forget_unused, unused_s)
        return removed

    async def _removed(self, one: BuiltEnvironment) -> bool:
        try:
            # Not forced: an image that a container uses, running or not, stays.
            await self._engine.image_remove(f"{_repository(one.name)}:{one.digest[:12]}")
            await self._engine.image_remove(one.reference)
        except Clash:
            return False
        self._uses.forget(one.digest)
        return True

    async def _find(self, digest: str) -> BuiltEnvironment | None:
        images = await self._engine.image_list({DIGEST: digest})
        image = max(images, key=_has_tag, default=None)
        return self._described(image, image["Labels"]) if image else None

    async def _below(
        self, environment: Environment, report: BuildProgress
    ) -> BuiltEnvironment | None:
        """Return the image that a user's requirements are added to; None where there are none."""
        if not environment.wishes:
            return None
        plain = replace(environment, wishes=())
        return await self.build(plain, _part(report, 0.0, 0.01))

    async def _make_or_say_why(
        self,
        environment: Environment,
        digest: str,
        below: BuiltEnvironment | None,
        report: BuildProgress,
    ) -> BuiltEnvironment:
        try:
            return await self._make(environment, digest, below, report)
        except EngineRefused as refused:
            raise BackendRejected(
                f"the engine refuses to build {environment.name}: {refused.explanation}",
                code="environment_broken",
                hint="look at the engine's journal and at the room on its disk",
            ) from refused

    async def _make(
        self,
        environment: Environment,
        digest: str,
        below: BuiltEnvironment | None,
        report: BuildProgress,
    ) -> BuiltEnvironment:
        lock = await asyncio.to_thread(self._lock, environment, report)
        if below is not None and await self._holds(below, lock):
            return below  # what is wished for is there, so that there is nothing to add
        recipe = await asyncio.to_thread(self._gather, environment, digest, lock, report)
        if below is not None:
            ground = Ground(below.reference, below.base, is_environment=True)
        else:
            ground = await self._bases.ground(environment, _part(report, 0.35, 0.6))
        report(0.6, f"installing {len(recipe.wheels.files)} packages")
        image = await self._install(recipe, ground)
        if not environment.wishes:  # a stranger's packages run in a sandbox alone, never here
            await self._accept(image, environment, digest, report)
        await self._engine.image_tag(image, _repository(environment.name), digest[:12])
        if environment.wishes:
            await self.prune(keep=KEEP, unused_s=UNUSED_S)
        found = await self._find(digest)
        if found is None:
            raise BackendRejected(f"the image of {environment.name} was removed while it was built")
        return found

    async def _accept(
        self, image: str, environment: Environment, digest: str, report: BuildProgress
    ) -> None:
        report(0.95, "trying the imports without network")
        try:
            seconds = await self._try_imports(image, environment, digest)
        except BackendRejected:
            await self._engine.image_remove(image)
            raise
        report(0.99, f"imports take {seconds:.2f} s")

    async def _holds(self, built: BuiltEnvironment, lock: Path) -> bool:
        """Whether an image has what a lock says, file by file, and nothing else."""
        found = await self._engine.image_inspect(built.reference)
        labels = ((found or {}).get("Config") or {}).get("Labels") or {}
        bill = labels.get(PACKAGES)  # images of earlier releases have none
        return bill is not None and not strangers_in(bill, await asyncio.to_thread(read_lock, lock))

    def _lock(self, environment: Environment, report: BuildProgress) -> Path:
        return self._resolver.lock(environment, _part(report, 0.0, 0.05), glibc_minor=IMAGE_GLIBC)

    def _gather(
        self, environment: Environment, digest: str, lock: Path, report: BuildProgress
    ) -> _Recipe:
        locked = replace(environment, requirements=lock)
        wheels = self._wheelhouse.fetch(locked, _part(report, 0.05, 0.35))
        return _Recipe(environment, digest, lock, wheels)

    # --- the packages

    async def _install(self, recipe: _Recipe, ground: Ground) -> str:
        name = recipe.environment.name
        stage = staged(recipe.wheels, recipe.lock, ground.prefix, self._settings.cache_dir)
        with stage as folder:
            body = install_body(ground, folder, recipe.environment, recipe.digest)
            container = await self._engine.create(f"trainbox-build-{uuid.uuid4().hex[:12]}", body)
            try:
                await self._run(container, f"installing {name}")
                labels = _labels(recipe, ground)
                changes = [
                    f"USER {USER}",
                    "WORKDIR /tmp",
                    f'CMD ["{PYTHON}"]',
                    *(f"LABEL {key}={json.dumps(value)}" for key, value in labels.items()),
                    *(f'LABEL {key}=""' for key in (BUILDING, BUILDING_FOR)),
                ]
                return await self._engine.commit(container, changes=changes)
            finally:
                await self._engine.remove(container, force=True)

    async def _try_imports(self, image: str, environment: Environment, digest: str) -> float:
        """Import as a sandbox would: another user, no network, nothing writable."""
        container = await self._engine.create(
            f"trainbox-build-{uuid.uuid4().hex[:12]}", import_body(image, environment, digest)
        )
        try:
            said = await self._run(container, f"the acceptance check of {environment.name}")
            return float(said.decode().split()[-1])
        finally:
            await self._engine.remove(container, force=True)

    async def _run(self, container: str, doing: str) -> bytes:
        await self._engine.start(container)
        waiting = asyncio.create_task(asyncio.to_thread(self._engine.wait_exit, container))
        done, _ = await asyncio.wait({waiting}, timeout=BUILD_TIMEOUT_S)
        if not done:
            await self._engine.kill(container, "SIGKILL")
        code = await waiting
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
            return b"".join(frame.data for frame in stream)[-_LOG_BYTES:]
        finally:
            stream.close()

    def _described(self, image: Mapping[str, Any], labels: Mapping[str, str]) -> BuiltEnvironment:
        return BuiltEnvironment(
            name=labels.get(ENVIRONMENT, ""),
            backend="docker",
            reference=str(image["Id"]),
            digest=labels[DIGEST],
            bytes=int(image.get("Size") or 0),
            created_at=datetime.fromisoformat(labels[CREATED]),
            base=labels.get(FOUNDATION, ""),
            for_wishes=labels.get(WISHES) == "1",
            used_at=self._uses.last(labels[DIGEST]),
            packages=packages_in(labels.get(PACKAGES, "")),
        )


def _repository(name: str) -> str:
    return f"trainbox/env-{name}"


def _labels(recipe: _Recipe, ground: Ground) -> dict[str, str]:
    return {
        ENVIRONMENT: recipe.environment.name,
        DIGEST: recipe.digest,
        FOUNDATION: ground.title,
        WHEELS: recipe.wheels.digest,
        PACKAGES: bill_of(recipe.wheels.files),
        CREATED: datetime.now(UTC).isoformat(),
        **({WISHES: "1"} if recipe.environment.wishes else {}),
    }


def _part(report: BuildProgress, start: float, end: float) -> BuildProgress:
    return lambda fraction, sentence: report(start + (end - start) * fraction, sentence)


def _has_tag(image: Json) -> bool:
    return any(tag != "<none>:<none>" for tag in image.get("RepoTags") or ())


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
