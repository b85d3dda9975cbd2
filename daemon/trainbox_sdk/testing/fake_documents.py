"""The fake engine's part of :mod:`trainbox_sdk.calls`: documents, in memory."""

from collections.abc import Sequence
from dataclasses import replace

from trainbox_sdk.documents import (
    Act,
    Document,
    DocumentFilter,
    DocumentKey,
    DocumentWrite,
    body_of,
)
from trainbox_sdk.engine import Page, Principal
from trainbox_sdk.errors import Conflict, ValidationFailed
from trainbox_sdk.testing import fake_data
from trainbox_sdk.testing.fake_jobs import FakeJobs


class FakeDocumentCalls(FakeJobs):
    """In memory, by the same contract."""

    async def document(self, key: DocumentKey) -> Document | None:
        """Return a document, or None."""
        self._enter("document")
        return self._documents.get(key)

    async def documents(self, which: DocumentFilter) -> Page[Document]:
        """List documents by their time of creation."""
        self._enter("documents")
        found = [
            document
            for document in self._documents.values()
            if (document.key.space, document.key.kind) == (which.space, which.kind)
            and which.owner in (None, document.owner)
            and which.group in (None, document.group)
            and which.name in (None, document.name)
        ]
        in_order = found if which.descending else list(reversed(found))
        return fake_data.page(in_order, which.limit, which.after)

    async def write_documents(
        self, who: Principal, writes: Sequence[DocumentWrite], *, acts: Sequence[Act] = ()
    ) -> Sequence[Document]:
        """Make all writes and audit lines, or none."""
        self._enter("write_documents")
        after, written = self._after(writes)
        self._documents = after
        self._note(who.actor, acts, token_id=who.token_id)
        return written

    def _after(
        self, writes: Sequence[DocumentWrite]
    ) -> tuple[dict[DocumentKey, Document], list[Document]]:
        """Return what there would be after the writes, and what they leave."""
        documents = dict(self._documents)
        keys = [_write(documents, write) for write in writes]
        return documents, [documents[key] for key in keys if key in documents]


def _write(documents: dict[DocumentKey, Document], write: DocumentWrite) -> DocumentKey:
    key, known = write.key, documents.get(write.key)
    revision = known.revision if known else 0
    if write.expect is not None and write.expect != revision:
        raise Conflict(
            f"{key.kind} {key.id!r} has revision {revision}, not {write.expect}",
            code="document_changed",
        )
    if write.body is None:
        documents.pop(key, None)
        return key
    body = body_of(write.body)
    words = f"{key.space}{key.kind}{key.id}{write.owner}{write.group}{write.name}"
    if words.encode("utf-8", "replace").decode() != words:
        raise ValidationFailed("not text that UTF-8 can hold", code="document_not_text")
    if write.name and any(
        (other.key.space, other.key.kind, other.owner, other.name)
        == (key.space, key.kind, write.owner, write.name)
        for other in documents.values()
        if other.key != key
    ):
        raise Conflict(
            f"there is a {key.kind} called {write.name!r} already", code="document_name_taken"
        )
    at = fake_data.now()
    fresh = Document(key, write.owner, write.group, write.name, 1, body, at, at)
    if known:
        fresh = replace(fresh, revision=revision + 1, created_at=known.created_at)
    documents[key] = fresh
    return key
