"""What surfaces keep of their own."""

from __future__ import annotations

from collections.abc import Sequence

from trainbox.engine.facade.rooms import Desk
from trainbox_sdk.documents import Act, Document, DocumentFilter, DocumentKey, DocumentWrite
from trainbox_sdk.engine import Page, Principal


class DocumentDesk(Desk):
    """Implements :class:`trainbox_sdk.calls.documents.DocumentCalls`."""

    async def document(self, key: DocumentKey) -> Document | None:
        """Return a document, or None."""
        return await self._r.store.documents.get(key)

    async def documents(self, which: DocumentFilter) -> Page[Document]:
        """List documents by their time of creation."""
        return await self._r.store.documents.list(which)

    async def write_documents(
        self, who: Principal, writes: Sequence[DocumentWrite], *, acts: Sequence[Act] = ()
    ) -> Sequence[Document]:
        """Make all writes and audit lines in one transaction."""
        return await self._r.store.documents.write(writes, acts, who=who.actor)
