"""Who may do what: scopes of the token, ownership of the thing, and the plugins' word."""

from __future__ import annotations

from collections.abc import Callable

from trainbox.store import Store
from trainbox_sdk.artifacts import DatasetView, ModelView
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

    async def find_dataset(self, who: Principal, reference: str) -> DatasetView | None:
        """Return a dataset by id, or the newest of that name, or None."""
        found = await self._store.datasets.get(reference)
        if found is None:
            found = await self._store.datasets.newest(reference, self.owner_filter(who))
        return found if found is not None and self.may(who, "read", found.owner) else None

    async def model(self, who: Principal, reference: str) -> ModelView:
        """Return a model by id, ``name``, ``name:version`` or ``name@alias``.

        Raises:
            NotFound: absent, or not theirs.
        """
        found = await self._store.models.get(reference) or await self._named(reference)
        if found is not None:
            owner = await self._store.models.owner(found.id)
            if owner is not None and self.may(who, "read", owner):
                return found
        raise NotFound(
            f"no model {reference!r}",
            code="model_not_found",
            hint="list yours with GET /v1/models; refer by id, name, name:version or name@alias",
        )

    async def _named(self, reference: str) -> ModelView | None:
        name, at, alias = reference.rpartition("@")
        if at:
            return await self._store.models.find(name, version=None, alias=alias)
        name, colon, version = reference.rpartition(":")
        if colon and version.isascii() and version.isdigit() and len(version) <= MAX_DIGITS:
            return await self._store.models.find(name, version=int(version), alias=None)
        return await self._store.models.find(reference, version=None, alias=None)
