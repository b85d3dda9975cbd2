"""Who may do what: scopes of the token, ownership of the thing, and the plugins' word."""

from __future__ import annotations

from collections.abc import Callable

from trainbox.store import Store
from trainbox_sdk.artifacts import DatasetView, ModelView
from trainbox_sdk.assets import AssetView
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import Forbidden, NotFound
from trainbox_sdk.jobs import JobView

ADMIN = "admin"
MAX_DIGITS = 9
"""Of a model version; longer numbers are names that do not exist, and overflow the database."""

Authorize = Callable[[Principal, str, str], bool | None]
"""``(principal, action, owner)`` to the plugins' decision; None leaves it to the default."""


class Access:
    """Answers "may they", and finds things as their owner sees them.

    Someone else's thing is not found rather than forbidden: its existence is not told.
    """

    def __init__(self, store: Store, authorize: Authorize) -> None:
        self._store = store
        self._authorize = authorize

    def require(self, who: Principal, scope: str) -> None:
        """Refuse a principal without the scope.

        Raises:
            Forbidden: naming the scope that is missing.
        """
        if scope not in who.scopes and ADMIN not in who.scopes:
            raise Forbidden(
                f"token {who.name!r} lacks the scope {scope!r}",
                hint="use a token that has it",
            )

    def owner_filter(self, who: Principal) -> str | None:
        """Return whose things a listing shows: None for everyone's."""
        return None if ADMIN in who.scopes else who.id

    def may(self, who: Principal, action: str, owner: str) -> bool:
        """Whether the principal may do this to a thing of that owner."""
        said = self._authorize(who, action, owner)
        if said is not None:
            return said
        return who.id == owner or ADMIN in who.scopes

    async def job(self, who: Principal, job_id: str, action: str = "read") -> JobView:
        """Return a job.

        Raises:
            NotFound: absent, or not theirs.
        """
        self.require(who, "submit" if action != "read" else "read")
        job = await self._store.jobs.get(job_id)
        if job is None or not self.may(who, action, job.owner):
            raise NotFound(
                f"no job {job_id!r}", code="job_not_found", hint="list yours with GET /v1/jobs"
            )
        return job

    async def asset(self, who: Principal, asset_id: str, action: str = "read") -> AssetView:
        """Return an asset.

        Raises:
            NotFound: absent, or not theirs.
        """
        self.require(who, "submit" if action != "read" else "read")
        found = await self._store.assets.get(asset_id)
        if found is None or not self.may(who, action, found.owner):
            raise NotFound(
                f"no asset {asset_id!r}",
                code="asset_not_found",
                hint="list yours with GET /v1/assets",
            )
        return found

    async def find_dataset(
        self, who: Principal, reference: str, action: str = "read"
    ) -> DatasetView | None:
        """Return a dataset by id, ``name`` (its newest version) or ``name:version``, or None.

        A name is one of the caller's own, also for an admin. One in the trash has an id alone.
        """
        found = await self._store.datasets.get(reference)
        if found is None:
            found = await self._named_dataset(who.id, reference)
        return found if found is not None and self.may(who, action, found.owner) else None

    async def dataset(self, who: Principal, reference: str, action: str = "read") -> DatasetView:
        """Return a dataset as :meth:`find_dataset` does, also from the trash.

        Raises:
            NotFound: absent, or not theirs.
        """
        found = await self.find_dataset(who, reference, action)
        if found is None:
            raise NotFound(
                f"no dataset {reference!r}",
                code="dataset_not_found",
                hint="list yours with GET /v1/datasets; refer by id, name or name:version",
            )
        return found

    async def _named_dataset(self, owner: str, reference: str) -> DatasetView | None:
        name, colon, version = reference.rpartition(":")
        if colon and version.isascii() and version.isdigit() and len(version) <= MAX_DIGITS:
            found = await self._store.datasets.find(owner, name, int(version))
            return found if found is None or found.trashed_at is None else None
        return await self._store.datasets.find(owner, reference)

    async def model(
        self, who: Principal, reference: str, action: str = "read", *, trashed: bool = False
    ) -> ModelView:
        """Return a model by id, ``name``, ``name:version`` or ``name@alias``.

        A name is one of the caller's own, also for an admin, who refers to others' by id.

        Args:
            who: the caller.
            reference: which.
            action: what they want to do with it.
            trashed: whether one in the trash will do; it has an id alone.

        Raises:
            NotFound: absent, not theirs, or in the trash.
        """
        found = await self._store.models.get(reference) or await self._named(who.id, reference)
        if found is not None and self.may(who, action, found.owner):
            if trashed or found.trashed_at is None:
                return found
            raise NotFound(
                f"model {reference!r} is in the trash",
                code="model_trashed",
                hint=f"restore it with POST /v1/models/{found.id}/restore",
            )
        raise NotFound(
            f"no model {reference!r}",
            code="model_not_found",
            hint="list yours with GET /v1/models; refer by id, name, name:version or name@alias",
        )

    async def _named(self, owner: str, reference: str) -> ModelView | None:
        find = self._store.models.find
        name, at, alias = reference.rpartition("@")
        if at:
            return await find(name, alias=alias, owner=owner)
        name, colon, version = reference.rpartition(":")
        if colon and version.isascii() and version.isdigit() and len(version) <= MAX_DIGITS:
            return await find(name, int(version), owner=owner)
        return await find(reference, owner=owner)
