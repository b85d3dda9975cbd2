"""What can go wrong, one class per thing a program may want to do about it.

::

    TrainboxError
    ├── Unreachable           no daemon answers, or the connection broke
    ├── ApiError              the daemon refused: status, code, field errors, hint, request id
    │   ├── Rejected          400, 413, 415, 422: the request is wrong; ``errors`` says where
    │   ├── Unauthenticated   401
    │   ├── Forbidden         403
    │   ├── NotFound          404
    │   ├── Conflict          409
    │   ├── RateLimited       429
    │   └── Unavailable       503, 507: the same request may succeed later
    ├── JobEnded              the job ended without a result: reason, exit code, end of its log
    │   ├── JobFailed
    │   ├── JobCancelled
    │   └── JobInterrupted
    └── WaitTimeout           the job goes on; the caller's patience ended
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class TrainboxError(Exception):
    """Base of everything this client raises on purpose."""


class Unreachable(TrainboxError):
    """No daemon answers, or the connection broke; a request sent once may have been carried out."""


class WaitTimeout(TrainboxError, TimeoutError):
    """The job has not ended in the time given; it goes on."""


@dataclass(frozen=True)
class FieldProblem:
    """One thing wrong with a request.

    Attributes:
        loc: path to the value, such as ``("params", "target")``.
        msg: what is wrong with it.
        hint: how to fix it, or empty.
    """

    loc: tuple[str | int, ...]
    msg: str
    hint: str = ""

    def __str__(self) -> str:
        place = ".".join(map(str, self.loc))
        return f"{place}: {self.msg}" + (f" ({self.hint})" if self.hint else "")


class ApiError(TrainboxError):
    """The daemon refused; built from its problem document (RFC 9457).

    Attributes:
        status: HTTP status.
        code: stable machine word, such as ``job_not_found``.
        detail: one sentence.
        errors: details, field by field.
        hint: how to fix it, or empty.
        request_id: what to look for in the daemon's log.
        problem: the whole document.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.problem = dict(problem)
        self.code = str(problem.get("code", ""))
        self.detail = str(problem.get("detail") or problem.get("title") or f"HTTP {status}")
        self.hint = str(problem.get("hint", ""))
        self.request_id = str(problem.get("request_id", ""))
        self.errors = tuple(_field_problems(problem.get("errors", ())))
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> Sequence[str]:
        lines = [self.detail, *(f"  {error}" for error in self.errors)]
        if self.hint:
            lines.append(f"Hint: {self.hint}")
        if self.request_id:
            lines.append(f"[HTTP {self.status}, {self.code}, request {self.request_id}]")
        return lines


class Rejected(ApiError):
    """The request is wrong; sending it again changes nothing."""


class Unauthenticated(ApiError):
    """No token, or one the daemon does not know."""


class Forbidden(ApiError):
    """The token lacks a scope."""


class NotFound(ApiError):
    """No such thing, or not yours."""


class Conflict(ApiError):
    """The thing is in a state that does not allow this."""


class RateLimited(ApiError):
    """Too many requests; they were retried as long as the client may."""


class Unavailable(ApiError):
    """The daemon cannot do it now."""


BY_STATUS: Mapping[int, type[ApiError]] = {
    400: Rejected,
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: Rejected,
    415: Rejected,
    422: Rejected,
    429: RateLimited,
    503: Unavailable,
    507: Unavailable,
}


def api_error(status: int, problem: Mapping[str, Any]) -> ApiError:
    """Return the error of a refusal."""
    return BY_STATUS.get(status, ApiError)(status, problem)


class JobEnded(TrainboxError):
    """The job ended without a result.

    Attributes:
        job: the job's document as it ended.
        reason_code, reason: a stable word and a sentence.
        exit_code: of the last attempt's process, or None.
        log_tail: last lines of its log.
        hint: what to do next, or empty.
    """

    def __init__(self, job: Mapping[str, Any], log_tail: str = "") -> None:
        self.job = dict(job)
        self.reason_code = str(job.get("reason_code", ""))
        self.reason = str(job.get("reason", ""))
        self.exit_code = _last_exit_code(job)
        self.log_tail = log_tail
        self.hint = _next_step(job)
        super().__init__("\n".join(self._lines()))

    def _lines(self) -> Sequence[str]:
        why = ": ".join(filter(None, (self.reason_code, self.reason)))
        lines = [f"job {self.job.get('id')} {self.job.get('state')}" + (f": {why}" if why else "")]
        if self.log_tail:
            lines += ["Its log ends with:", *(f"  {line}" for line in self.log_tail.splitlines())]
        if self.hint:
            lines.append(f"Next: {self.hint}")
        return lines


class JobFailed(JobEnded):
    """The job's code, data or limits failed it."""


class JobCancelled(JobEnded):
    """Someone asked for its end."""


class JobInterrupted(JobEnded):
    """The daemon, the engine or the host went away under it; ``retry()`` may well succeed."""


ENDINGS: Mapping[str, type[JobEnded]] = {
    "failed": JobFailed,
    "cancelled": JobCancelled,
    "interrupted": JobInterrupted,
}


def _field_problems(errors: Any) -> Sequence[FieldProblem]:
    if not isinstance(errors, list):
        return ()
    return [
        FieldProblem(tuple(one.get("loc", ())), str(one.get("msg", "")), str(one.get("hint", "")))
        for one in errors
        if isinstance(one, Mapping)
    ]


def _last_exit_code(job: Mapping[str, Any]) -> int | None:
    attempts = [attempt for step in job.get("steps", ()) for attempt in step.get("attempts", ())]
    codes = [attempt.get("exit_code") for attempt in attempts]
    return codes[-1] if codes else None


def _next_step(job: Mapping[str, Any]) -> str:
    steps = job.get("next_steps") or ()
    first = steps[0] if steps else ""
    return str(first.get("text", "")) if isinstance(first, Mapping) else str(first)
