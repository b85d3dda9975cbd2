"""Small documents that surfaces keep: what their dialect knows and the engine does not.

A dialect's own things (a draft of a model, a run's label, a key that signs links) live here rather
than in tables of the core; writes are compare-and-set, and may ride in the transaction of a job.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from trainbox_sdk.errors import ValidationFailed

MAX_BODY_BYTES = 256 * 1024


def body_text(body: Mapping[str, Any]) -> str:
    """Return a body as it is stored: compact JSON.

    Raises:
        ValidationFailed: not JSON, or larger than :data:`MAX_BODY_BYTES`.
    """
    try:
        text = json.dumps(dict(body), allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationFailed(
            f"a document's body is not JSON: {error}", code="document_not_json"
        ) from error
    if size > MAX_BODY_BYTES:
        raise ValidationFailed(
            f"a document's body is {size} bytes as JSON, at most {MAX_BODY_BYTES} are kept",
            code="document_too_large",
        )
    return text


def body_of(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a body as it is read back: JSON's types alone, sharing nothing with the one given.

    Raises:
        ValidationFailed: as :func:`body_text`.
    """
    read: dict[str, Any] = json.loads(body_text(body))
    return read


@dataclass(frozen=True)
class Act:
    """One line for the audit log, written with the change it tells of.

    Attributes:
        act: such as ``model.custom_training_started``.
        object: id of what was acted on; empty for the thing itself that it is written with: the
            asset or the job.
        note: further facts, as JSON text or a sentence.
    """

    act: str
    object: str
    note: str = ""


@dataclass(frozen=True)
class DocumentKey:
    """Names one document.

    Attributes:
        space: the surface's name: no surface reads another's documents.
        kind: such as ``model``.
        id: unique within space and kind.
    """

    space: str
    kind: str
    id: str


@dataclass(frozen=True)
class Document:
    """A document as it is stored.

    Attributes:
        owner: whose it is; the surface decides who may see it.
        group: what it belongs to, such as a model's id; for listings.
        name: unique among the live documents of an owner and kind; empty for none.
        revision: counts the writes, from 1.
        body: JSON-able, at most 256 KiB as text.
    """

    key: DocumentKey
    owner: str
    group: str
    name: str
    revision: int
    body: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True)
class DocumentWrite:
    """One write: of all writes given together either all happen or none.

    Attributes:
        body: the new content; None deletes the document.
        expect: revision it must have; 0 for one that must not exist; None for any, or none.
        owner, group, name: as in :class:`Document`.
    """

    key: DocumentKey
    owner: str
    body: Mapping[str, Any] | None
    expect: int | None = None
    group: str = ""
    name: str = ""


@dataclass(frozen=True)
class DocumentFilter:
    """Which documents a listing shows.

    Attributes:
        after: the cursor of the page before.
    """

    space: str
    kind: str
    owner: str | None = None
    group: str | None = None
    name: str | None = None
    descending: bool = True
    limit: int = 50
    after: str | None = None


@dataclass(frozen=True)
class Along:
    """What is written in the same transaction as a new job, or not at all.

    Attributes:
        exclusive: at most one job of an owner with this key has not ended; empty for no such rule.
        acts: lines for the audit log; the job's own line is written too.
        writes: documents.
        at_end: lines for the audit log when the job ends, by the value of its
            :class:`~trainbox_sdk.jobs.State`; written with the end.
    """

    exclusive: str = ""
    acts: tuple[Act, ...] = ()
    writes: tuple[DocumentWrite, ...] = ()
    at_end: Mapping[str, Act] = field(default_factory=dict)
