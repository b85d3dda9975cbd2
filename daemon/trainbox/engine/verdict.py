"""How a sandbox run ended, as one pure decision table. Causes come first, the number last.

================================ ========================== ===========
condition, in this order         reason code                state
================================ ========================== ===========
someone asked before it ended    ``cancelled``              cancelled
the daemon's deadline fired      ``timeout``                failed
the sandbox vanished             ``sandbox_lost``           interrupted
a kill while nobody looked       ``engine_restarted``       interrupted
the sandbox could not start      ``start_failed``           failed
a watchdog fired                 ``disk_limit`` and so on   failed
the kernel's out-of-memory kill  ``out_of_memory``          failed
it failed on a full disk         ``disk_limit``             failed
the guest said why               the guest's own code       failed
exit code is not 0               ``exit_<n>``               failed
otherwise                        none                       go on
================================ ========================== ===========
"""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trainbox_sdk.backends import Cause, Limits, Observation
from trainbox_sdk.jobs import State

SIGNAL_BASE = 128
GIB = 1024**3
CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
LONGEST_REASON = 4000


@dataclass(frozen=True)
class Verdict:
    """Where a step goes after its sandbox died; ``state`` None means: collect the outputs."""

    state: State | None
    reason_code: str = ""
    reason: str = ""


class StepEnds(Exception):
    """What a phase raises when it finds that the step is over, with the end it is to have.

    Args:
        code: the reason code.
        message: the sentence for people.
        state: the terminal state.
    """

    def __init__(self, code: str, message: str, state: State = State.FAILED) -> None:
        super().__init__(message)
        self.code = code
        self.state = state


def decide(  # noqa: PLR0911 - one return per line of the table
    seen: Observation,
    limits: Limits,
    *,
    cancelled: bool = False,
    timed_out: bool = False,
    engine_was_away: bool = False,
    failure: Mapping[str, Any] | None = None,
    disk_full: str = "",
) -> Verdict:
    """Return the verdict on one dead sandbox.

    Args:
        seen: the backend's last look.
        limits: what the sandbox was given.
        cancelled: someone asked, and it was recorded, before the end was seen.
        timed_out: the daemon's own deadline stopped it.
        engine_was_away: the backend was unreachable at some time during the run, or the daemon
            was, and so could not see the backend.
        failure: the guest's last ``failure`` event, if it wrote one.
        disk_full: what its disk had run out of when it was dead; empty where it had room.
    """
    if cancelled:
        return Verdict(State.CANCELLED, "cancelled", "cancelled on request")
    if timed_out:
        return _failed(
            "timeout",
            f"stopped at its time limit of {limits.wall_s:g} s; give it more time",
        )
    interrupted = _interrupted(seen, engine_was_away=engine_was_away)
    if interrupted is not None:
        return interrupted
    if seen.cause is not Cause.NONE and not (seen.cause is Cause.OUT_OF_MEMORY and _clean(seen)):
        return _failed(seen.cause.value, _cause_sentence(seen, limits))
    if _clean(seen):
        return Verdict(None)
    if disk_full:
        return _failed(Cause.DISK_LIMIT.value, f"{_exit_words(seen)}, and {disk_full}")
    if failure is not None:
        return _failed(_failure_code(failure), _failure_sentence(failure) or _exit_sentence(seen))
    return _failed(f"exit_{seen.exit_code}", _exit_sentence(seen))


def _clean(seen: Observation) -> bool:
    return seen.exit_code == 0


def _failed(code: str, reason: str) -> Verdict:
    return Verdict(State.FAILED, code, reason)


def _interrupted(seen: Observation, *, engine_was_away: bool) -> Verdict | None:
    if seen.cause is Cause.LOST or (seen.exit_code is None and seen.cause is Cause.NONE):
        return Verdict(
            State.INTERRUPTED,
            "sandbox_lost",
            "the sandbox vanished without an exit code (removed by hand, or the host restarted); "
            "retry it",
        )
    killed = seen.exit_code in (SIGNAL_BASE + signal.SIGKILL, SIGNAL_BASE + signal.SIGTERM, 255)
    if engine_was_away and killed and seen.cause is Cause.NONE:
        return Verdict(
            State.INTERRUPTED,
            "engine_restarted",
            "the engine or the host went away and took the sandbox with it; retry it",
        )
    return None


def _cause_sentence(seen: Observation, limits: Limits) -> str:
    if seen.cause is Cause.OUT_OF_MEMORY:
        peak = f", peak {seen.peak_memory_bytes / GIB:.2f} GiB" if seen.peak_memory_bytes else ""
        return (
            f"killed: memory limit {limits.memory_bytes / GIB:.2f} GiB{peak}; "
            "retry with more memory"
        )
    if seen.cause is Cause.DISK_LIMIT:
        return f"killed: wrote more than {limits.output_bytes / GIB:.2f} GiB"
    if seen.cause is Cause.LOG_LIMIT:
        # The backend's own number: what is kept of a log is less than what it may print.
        return f"killed: {seen.detail or 'it printed more than a step may'}"
    return f"the sandbox could not be started: {seen.detail}"


def _failure_code(failure: Mapping[str, Any]) -> str:
    """Return the guest's code if it is a word of a code's form; it may be anything."""
    code = failure.get("code")
    return code if isinstance(code, str) and CODE.fullmatch(code) else "failed"


def _failure_sentence(failure: Mapping[str, Any]) -> str:
    message, hint = (str(failure.get(name) or "") for name in ("message", "hint"))
    return f"{message} ({hint})"[:LONGEST_REASON] if message and hint else message[:LONGEST_REASON]


def _exit_sentence(seen: Observation) -> str:
    return f"{_exit_words(seen)}; see its log"


def _exit_words(seen: Observation) -> str:
    code = seen.exit_code or 0
    if code > SIGNAL_BASE:
        try:
            return f"the code was ended by {signal.Signals(code - SIGNAL_BASE).name}"
        except ValueError:
            pass
    return f"the code ended with exit code {code}"
