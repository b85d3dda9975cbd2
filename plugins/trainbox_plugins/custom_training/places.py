"""Places of files beside a model's script: how many there may be, and one type for each name.

A file takes its place before its bytes come, so that of many uploads at once no more are let in
than there is room for. One process serves a model, so its memory is enough.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from trainbox_plugins.custom_training.errors import refused
from trainbox_sdk.assets import AssetView, NewAsset
from trainbox_sdk.errors import Conflict

Files = Callable[[], Awaitable[Sequence[AssetView]]]


@dataclass
class _Coming:
    """Uploads of one model.

    Attributes:
        lock: held over a look at the files together with taking or leaving a place, so that every
            upload is seen as coming or as there.
        names: filename and type of those that come.
        users: who holds or waits for the lock, or has a place.
    """

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    names: list[tuple[str, str]] = field(default_factory=list)
    users: int = 0


class Places:
    """Hands out places.

    Args:
        most: files of one model.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._models: dict[str, _Coming] = {}

    @asynccontextmanager
    async def taken(self, new: NewAsset, files: Files) -> AsyncIterator[None]:
        """Hold a place while a file comes.

        Args:
            new: the file; its ``group`` is the model.
            files: reads the model's files, one for each name.

        Raises:
            Conflict: a file of another type has the name.
            PreciseFailure: the model has as many as one may have.
        """
        coming = self._models.setdefault(new.group, _Coming())
        coming.users += 1
        mine = (new.filename, new.kind)
        try:
            async with coming.lock:
                self._require(mine, [*((x.filename, x.kind) for x in await files()), *coming.names])
                coming.names.append(mine)
            try:
                yield
            finally:
                async with coming.lock:
                    coming.names.remove(mine)
        finally:
            coming.users -= 1
            if not coming.users:
                del self._models[new.group]

    def _require(self, mine: tuple[str, str], others: Sequence[tuple[str, str]]) -> None:
        name, kind = mine
        there = dict(others)
        if there.get(name, kind) != kind:
            raise Conflict(
                f"This model has an asset {name!r} of asset_type {there[name]!r}; "
                "delete it first, or choose another filename."
            )
        if name not in there and len(there) >= self._most:
            raise refused("body", "file", msg=f"a model has at most {self._most} assets")
