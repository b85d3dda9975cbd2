"""The error tree, drawn once. No error here knows an HTTP status: a surface translates it.

::

    TrainboxError
    ├── ValidationFailed      the request is understood and wrong (field by field)
    ├── NotFound              no such thing, or not yours
    ├── Conflict              the thing is in a state that does not allow this
    │   └── IdempotencyClash  the same key came with another request
    ├── Unauthenticated       no credential, or one we do not know
    ├── Forbidden             known, and not allowed
    ├── TooLarge              over a stated limit of bytes, rows or columns
    ├── Unavailable           try again later (retryable)
    │   ├── StorageFull       the state directory has no room
    │   ├── RateLimited       the caller asks too often
    │   └── BackendUnavailable the engine behind a backend does not answer
    ├── BackendRejected       the backend will never accept this (permanent)
    └── PluginError           a plugin broke its contract
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with a request.

    Attributes:
        loc: path to the value, such as ``("params", "trials")``.
        msg: what is wrong with it.
        hint: how to fix it, empty where there is nothing to add.
    """

    loc: tuple[str | int, ...]
    msg: str
    hint: str = ""


@dataclass(frozen=True)
class DataFault:
    """One place in uploaded data that cannot be taken.

    Attributes:
        rule: stable word, such as ``ragged_row``; docs/datasets.md lists them.
        message: one sentence.
        hint: how to mend it, empty where there is nothing to add.
        row: of the data, from 1, the header not counted; None where it is about no row.
        line: of the text on which the row starts (for an encoding: of the bytes), from 1; None for
            formats without lines.
        column: by name; None where it is about a whole row or file.
        value: what stands there, printable and cut; None where there is nothing to show.
        file: the name the uploader gave, empty where there was none.
    """

    rule: str
    message: str
    hint: str = ""
    row: int | None = None
    line: int | None = None
    column: str | None = None
    value: str | None = None
    file: str = ""


class TrainboxError(Exception):
    """Base of every error that reaches a caller.

    Attributes:
        code: stable machine word, such as ``job_not_found``.
        message: one sentence: what and where.
        hint: one sentence: how to fix it.
        errors: details, field by field.
        faults: for uploaded data: its first 100 faults, in the order of the file.
    """

    default_code = "error"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        hint: str = "",
        errors: Sequence[FieldError] = (),
        faults: Sequence[DataFault] = (),
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.hint = hint
        self.errors = tuple(errors)
        self.faults = tuple(faults)


class ValidationFailed(TrainboxError):
    """The request is understood and wrong."""

    default_code = "validation_failed"


class NotFound(TrainboxError):
    """No such thing, or not yours."""

    default_code = "not_found"


class Conflict(TrainboxError):
    """The thing is in a state that does not allow this."""

    default_code = "conflict"


class IdempotencyClash(Conflict):
    """The same idempotency key came with another request."""

    default_code = "idempotency_clash"


class Unauthenticated(TrainboxError):
    """No credential, or one we do not know."""

    default_code = "unauthenticated"


class Forbidden(TrainboxError):
    """The credential is known and not allowed to do this."""

    default_code = "forbidden"


class TooLarge(TrainboxError):
    """Over a stated limit."""

    default_code = "too_large"


class Unavailable(TrainboxError):
    """Not now; the same request may succeed later."""

    default_code = "unavailable"
    retryable = True


class RateLimited(Unavailable):
    """The caller asks too often.

    Attributes:
        retry_after_s: whole seconds until it may ask again.
    """

    default_code = "rate_limited"

    def __init__(self, message: str, *, retry_after_s: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = max(retry_after_s, 1)


class StorageFull(Unavailable):
    """The state directory has no room."""

    default_code = "storage_full"


class BackendUnavailable(Unavailable):
    """The engine behind a backend does not answer; nothing is known of its sandboxes."""

    default_code = "backend_unavailable"


class BackendRejected(TrainboxError):
    """The backend will never accept this sandbox."""

    default_code = "backend_rejected"


class PluginError(TrainboxError):
    """A plugin broke its contract."""

    default_code = "plugin_error"
