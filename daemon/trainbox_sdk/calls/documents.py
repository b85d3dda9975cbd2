"""Documents: what a surface keeps of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from trainbox_sdk.calls.base import Page, Principal
from trainbox_sdk.documents import Act, Document, DocumentFilter, DocumentKey, DocumentWrite


class DocumentCalls(Protocol):
    """What a surface can do with its documents; it decides itself who may see which."""

    async def document(self, key: DocumentKey) -> Document | None:
        """Return a document, or None."""

    async def documents(self, which: DocumentFilter) -> Page[Document]:
        """List documents by their time of creation."""

    async def write_documents(
        self, who: Principal, writes: Sequence[DocumentWrite], *, acts: Sequence[Act] = ()
    ) -> Sequence[Document]:
        """Make all writes and audit lines in one transaction; deleted ones are not returned.

        Raises:
            Conflict: ``document_changed``: a revision is not the expected one;
                ``document_name_taken``: another live document of the owner has the name.
            ValidationFailed: a body that is larger than 256 KiB, or not JSON.
        """
