"""What an attack is, and how its outcome is read: by the host, from what the guest found and left."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from trainbox_sdk.backends import Limits, Observation, SandboxSpec
from trainbox_sdk.testing.backend import LIMITS

REFUSALS = frozenset(
    {
        *("EPERM", "EACCES", "ENOSYS", "EROFS", "ENOENT", "EAFNOSUPPORT", "EINVAL", "ENXIO"),
        *("ESOCKTNOSUPPORT", "EPROTONOSUPPORT", "ENODEV", "ENOTDIR", "EOPNOTSUPP", "ESRCH"),
        *("EBADF", "ENOTTY", "ECONNREFUSED", "ENETUNREACH", "EBUSY", "EEXIST", "EXDEV", "ETXTBSY"),
        *("ENOMEM", "ENOSPC", "EFBIG", "EISDIR", "ENOTEMPTY", "ENOEXEC", "EIO"),
    }
)
"""Ways a kernel says no. EBADF and EINVAL come where a call got as far as an argument that it never
takes; :func:`denied` is for calls that must not get so far."""


class Verdict(StrEnum):
    """What came of an attack."""

    CONTAINED = "contained"
    NOT_CONTAINED = "not contained"
    REFUSED = "refused"
    """The backend did not take the request."""


@dataclass(frozen=True)
class Outcome:
    """One attack, after its sandbox is dead.

    Attributes:
        answer: what the guest's function returned; None where it never did.
        seen: the backend's last word.
        spec: what ran.
        told: what the host had put in place.
        limits: of this sandbox.
    """

    answer: Any
    seen: Observation
    spec: SandboxSpec
    told: Mapping[str, Any]

    @property
    def output(self) -> Path:
        """Where it left what it made."""
        return self.spec.paths.output

    @property
    def log(self) -> str:
        """What it printed."""
        return self.spec.paths.log.read_text(errors="replace")


Judge = Callable[[Outcome], object]
"""Returns something true where the attack broke through: it says how."""


@dataclass(frozen=True)
class Attack:
    """One line of the catalogue.

    Attributes:
        name: of the attack, and of the function in ``guest/`` that tries it.
        tries: to do what.
        stopped_by: the fields of the policy, or the rooms of the house, that stop it.
        breach: reads from the outcome what broke; nothing where it was contained.
        alone: needs a sandbox of its own.
        limits: what differs from the usual ones.
        env: variables of the request.
        stop: the host stops it once it is ready, with this much grace in seconds.
        standby: makes sense only where a sandbox stood by.
    """

    name: str
    tries: str
    stopped_by: tuple[str, ...]
    breach: Judge
    alone: bool = False
    limits: Limits = field(default=LIMITS)
    env: Mapping[str, str] = field(default_factory=dict)
    stop: float | None = None
    twice: bool = False


def verdict(attack: Attack, outcome: Outcome | None) -> tuple[Verdict, object]:
    """Say what came of it, and what broke."""
    if outcome is None:
        return Verdict.REFUSED, None
    if isinstance(outcome.answer, dict) and outcome.answer.keys() & {"crashed", "hung"}:
        raise AssertionError(f"the attack itself is broken: {outcome.answer}")
    broke = attack.breach(outcome)
    return (Verdict.NOT_CONTAINED if broke else Verdict.CONTAINED), broke


# --- judges


def words(answer: Any) -> dict[str, Any]:
    """Return an answer as names and words, whatever its shape."""
    return answer if isinstance(answer, dict) else {"answer": answer}


def refused(outcome: Outcome) -> object:
    """Every call ended with an error that means no, or the kernel killed who made it."""
    found = words(outcome.answer)
    if set(found) == {"killed"}:
        return {} if found["killed"] == 31 else found  # SIGSYS: the filter's
    return {name: word for name, word in found.items() if word not in REFUSALS}


def denied(outcome: Outcome) -> object:
    """Every call was turned away at the door: the kernel never looked at its arguments."""
    found = words(outcome.answer)
    if set(found) == {"killed"}:
        return {} if found["killed"] == 31 else found
    doors = {"EPERM", "ENOSYS", "EACCES", "ENOENT", "EAFNOSUPPORT"}
    return {name: word for name, word in found.items() if word not in doors}


def cut(most: float, *, by: frozenset[str] = REFUSALS | {"EMFILE", "EAGAIN", "ENOMEM"}) -> Judge:
    """It ended with an error, before it had more than this."""

    def judge(outcome: Outcome) -> object:
        found = words(outcome.answer)
        amounts = [value for value in found.values() if isinstance(value, int)]
        if found.get("ended") not in by or not amounts or max(amounts) > most:
            return found
        return {}

    return judge


def equals(expected: Any) -> Judge:
    """The answer is this and no other."""
    return lambda outcome: {} if outcome.answer == expected else {"answer": outcome.answer}
