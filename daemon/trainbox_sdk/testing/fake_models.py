"""The fake engine's part of :mod:`trainbox_sdk.calls`: models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace

from trainbox_sdk.artifacts import (
    ArtifactFile,
    ArtifactView,
    ModelView,
)
from trainbox_sdk.engine import (
    Page,
    Principal,
)
from trainbox_sdk.errors import (
    Conflict,
    NotFound,
)
from trainbox_sdk.models import (
    AliasAct,
    AliasChange,
    AliasMove,
    AliasView,
    ArchivePart,
    ModelArchive,
    ModelDirectory,
    ModelFile,
    ModelFilter,
)
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs


class FakeModelCalls(FakeJobs):
    """In memory, by the same contract; a directory has the graph and a manifest alone."""

    async def models(self, who: Principal, which: ModelFilter) -> Page[ModelView]:
        """List model versions."""
        self._enter("models")
        found = [
            view
            for view in self._models.values()
            if self._owns(who, view)
            and which.trashed == (view.trashed_at is not None)
            and which.name in {None, view.name}
            and which.task in {None, view.task}
            and (which.alias is None or which.alias in view.aliases)
        ]
        if "name" in which.sort:
            found.sort(key=lambda view: view.name)
        if not which.sort.startswith("-"):
            found.reverse()
        return fake_data.page(found, which.limit, which.after)

    async def model(self, who: Principal, model: str) -> ModelView:
        """Return a model by id, ``name``, ``name:version`` or ``name@alias``."""
        self._enter("model")
        return self._find(who, model, trashed=True)

    async def model_file(self, who: Principal, model: str) -> ArtifactFile:
        """Return the model's file."""
        self._enter("model_file")
        return self._artifacts[self._find(who, model).artifact_id]

    # -- aliases ------------------------------------------------------------------------------

    async def set_alias(self, who: Principal, wish: AliasMove) -> AliasView:
        """Point an alias at a version."""
        self._enter("set_alias")
        target = self._find(who, f"{wish.name}:{wish.version}")
        self._move(who, wish, target)
        return self._alias(who, wish)

    async def roll_back_alias(self, who: Principal, wish: AliasMove) -> AliasView:
        """Point an alias at the version before."""
        self._enter("roll_back_alias")
        self._alias(who, wish)
        stack: list[int] = []
        for change in self._changes(who, wish.name, wish.alias):
            if change.act == "delete":
                stack.clear()
            elif change.act == "rollback":
                stack.pop()
            elif change.to_version is not None:
                stack.append(change.to_version)
        if len(stack) < 2:  # noqa: PLR2004 - the present one and the one before
            raise Conflict("it pointed nowhere before", code="no_version_before")
        self._move(who, wish, self._find(who, f"{wish.name}:{stack[-2]}"))
        return self._alias(who, wish)

    async def delete_alias(self, who: Principal, wish: AliasMove) -> None:
        """Take an alias away."""
        self._enter("delete_alias")
        self._alias(who, wish)
        self._move(who, replace(wish, act="delete"), None)

    async def aliases(self, who: Principal, name: str) -> Sequence[AliasView]:
        """List the aliases of a name."""
        self._enter("aliases")
        newest = self._find(who, name)
        return tuple(
            AliasView(view.name, alias, view.version, view.id, view.created_at)
            for view in self._models.values()
            if view.name == newest.name and self._owns(who, view)
            for alias in view.aliases
        )

    async def alias_history(
        self,
        who: Principal,
        name: str,
        alias: str,
        *,
        limit: int = 50,
        after: str | None = None,
    ) -> Page[AliasChange]:
        """List the moves of an alias, newest first."""
        self._enter("alias_history")
        changes = self._changes(who, name, alias)
        if not changes:
            raise NotFound(f"no alias {name}@{alias}", code="alias_not_found")
        return fake_data.page(changes, limit, after)

    # -- the trash ----------------------------------------------------------------------------

    async def trash_model(self, who: Principal, model: str) -> ModelView:
        """Throw a version away."""
        self._enter("trash_model")
        view = self._find(who, model, trashed=True)
        if view.aliases:
            raise Conflict(f"{view.aliases[0]!r} points at it", code="model_aliased")
        return self._keep(replace(view, trashed_at=view.trashed_at or fake_data.now()))

    async def restore_model(self, who: Principal, model: str) -> ModelView:
        """Bring a version back."""
        self._enter("restore_model")
        return self._keep(replace(self._find(who, model, trashed=True), trashed_at=None))

    # -- the directory ------------------------------------------------------------------------

    async def model_directory(self, who: Principal, model: str) -> ModelDirectory:
        """List the graph and a manifest."""
        self._enter("model_directory")
        return self._directory(self._find(who, model))

    async def model_directory_file(self, who: Principal, model: str, path: str) -> ArtifactFile:
        """Return one of the two files."""
        self._enter("model_directory_file")
        view = self._find(who, model)
        found = self._directory(view).file(path)
        if found is None:
            raise NotFound(f"no file {path[:200]!r}", code="file_not_found")
        shown = ArtifactView(
            f"{view.id}/{path}",
            view.job_id,
            "",
            path,
            "file",
            found.digest,
            found.bytes,
            found.media_type,
            view.created_at,
        )
        place = self._artifacts[view.artifact_id].path
        return ArtifactFile(shown, place if path == "model.onnx" else place.with_suffix(".json"))

    async def model_archive(self, who: Principal, model: str) -> ModelArchive:
        """Put the two files one after the other; no tar, bytes only."""
        self._enter("model_archive")
        view = self._find(who, model)
        directory = self._directory(view)
        place = self._artifacts[view.artifact_id].path
        parts = (
            ArchivePart(10, b"not a tar\n"),
            ArchivePart(directory.files[0].bytes, path=place.with_suffix(".json")),
            ArchivePart(view.bytes, path=place),
        )
        return ModelArchive(f"{view.id}.tar", directory.digest.removeprefix("sha256:"), parts)

    def _directory(self, view: ModelView) -> ModelDirectory:
        data = json.dumps({"files": {"model.onnx": {"sha256": view.digest}}}).encode()
        self._artifacts[view.artifact_id].path.with_suffix(".json").write_bytes(data)
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        manifest = ModelFile("manifest.json", digest, len(data), "application/json")
        graph = ModelFile("model.onnx", view.digest, view.bytes, "application/onnx")
        return ModelDirectory(view.id, digest, (manifest, graph))

    # -- small things -------------------------------------------------------------------------

    def _find(self, who: Principal, model: str, *, trashed: bool = False) -> ModelView:
        for view in reversed(list(self._models.values())):
            names = {view.id}
            if view.trashed_at is None:
                names |= {view.name, f"{view.name}:{view.version}"}
                names |= {f"{view.name}@{alias}" for alias in view.aliases}
            if model in names and self._owns(who, view):
                if view.trashed_at is None or trashed:
                    return view
                raise NotFound(f"{model!r} is in the trash", code="model_trashed")
        raise NotFound(f"no model {model!r}", code="model_not_found")

    def _keep(self, view: ModelView) -> ModelView:
        self._models[view.id] = view
        return view

    def _alias(self, who: Principal, wish: AliasMove) -> AliasView:
        for view in self._models.values():
            if view.name == wish.name and wish.alias in view.aliases and self._owns(who, view):
                return AliasView(view.name, wish.alias, view.version, view.id, fake_data.now())
        raise NotFound(f"no alias {wish.name}@{wish.alias}", code="alias_not_found")

    def _changes(self, who: Principal, name: str, alias: str) -> list[AliasChange]:
        wanted = (name, alias, who.id)
        return [made for made in self._moves if (made.name, made.alias, made.who) == wanted]

    def _move(self, who: Principal, wish: AliasMove, target: ModelView | None) -> None:
        mine = [v for v in self._models.values() if v.name == wish.name and self._owns(who, v)]
        now = next((view for view in mine if wish.alias in view.aliases), None)
        before = now.version if now else None
        if wish.expected_version not in {None, before or 0}:
            raise Conflict(f"it points at {before}", code="alias_moved")
        if now is not None and now is target:
            return
        for view in mine:
            kept = tuple(known for known in view.aliases if known != wish.alias)
            self._keep(replace(view, aliases=kept))
        if target is not None:
            view = self._models[target.id]
            self._keep(replace(view, aliases=(*view.aliases, wish.alias)))
        act: AliasAct = wish.act
        self._moves.append(
            AliasChange(
                len(self._moves) + 1,
                wish.name,
                wish.alias,
                act,
                before,
                target.version if target else None,
                who.id,
                wish.reason,
                fake_data.now(),
            )
        )
