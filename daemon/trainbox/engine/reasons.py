"""What every reason code says, whose matter it is, and what to do: the table of docs/jobs.md.

A guest may end with a code of its own; those are not listed and count as the code's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from trainbox_sdk.jobs import State


class Advice(StrEnum):
    """What to do next; :mod:`trainbox.engine.explaining` makes sentences and commands of it."""

    WAIT = "wait"
    RETRY = "retry"
    MORE_MEMORY = "more_memory"
    MORE_TIME = "more_time"
    ASK_LESS = "ask_less"
    READ_LOG = "read_log"
    MEND_REQUEST = "mend_request"
    LOOK_AT_HEALTH = "look_at_health"
    TELL_AUTHOR = "tell_author"


SENTENCES: Mapping[Advice, str] = {
    Advice.WAIT: "Wait: it starts by itself.",
    Advice.RETRY: "Run it again as it is.",
    Advice.MORE_MEMORY: "Submit it again with more memory.",
    Advice.MORE_TIME: "Submit it again with more time.",
    Advice.ASK_LESS: "Ask for less and submit it again.",
    Advice.READ_LOG: "Read what it printed.",
    Advice.MEND_REQUEST: "Change what the reason says and submit it again.",
    Advice.LOOK_AT_HEALTH: "See what the daemon says of its backends.",
    Advice.TELL_AUTHOR: "Tell whoever wrote the task's plugin; the log and the reason help.",
}


@dataclass(frozen=True)
class Reason:
    """One reason code.

    Attributes:
        kind: whose matter it is: ``waiting``, ``code``, ``limits``, ``environment``, ``host``,
            ``request``, ``artifact`` or ``daemon``.
        meaning: one sentence.
        advice: what to do, best first.
    """

    kind: str
    meaning: str
    advice: tuple[Advice, ...]


_A = Advice
REASONS: Mapping[str, Reason] = {
    # while it waits
    "no_capacity": Reason(
        "waiting", "It is the next, and what it asks for is not free yet.", (_A.WAIT, _A.ASK_LESS)
    ),
    "behind": Reason(
        "waiting", "Jobs that came first or are more urgent start before it.", (_A.WAIT,)
    ),
    "never_fits": Reason(
        "waiting", "It asks for more than its backend has in all.", (_A.ASK_LESS,)
    ),
    "backend_unavailable": Reason(
        "waiting", "Its backend does not answer, or is not loaded.", (_A.LOOK_AT_HEALTH, _A.WAIT)
    ),
    "no_space": Reason(
        "waiting", "The daemon's disk is too full to start it.", (_A.WAIT, _A.LOOK_AT_HEALTH)
    ),
    "draining": Reason("waiting", "An administrator lets no job start for now.", (_A.WAIT,)),
    # someone asked
    "cancelled": Reason("request", "Someone asked for its end.", (_A.RETRY,)),
    "upstream": Reason(
        "request", "Another step of its job did not succeed.", (_A.READ_LOG, _A.RETRY)
    ),
    # limits
    "out_of_memory": Reason(
        "limits", "It needed more memory than it was given.", (_A.MORE_MEMORY, _A.READ_LOG)
    ),
    "timeout": Reason("limits", "It ran into its time limit.", (_A.MORE_TIME, _A.READ_LOG)),
    "disk_limit": Reason(
        "limits", "It wrote more than a step may.", (_A.READ_LOG, _A.MEND_REQUEST)
    ),
    "log_limit": Reason(
        "limits", "It printed more than a step may.", (_A.READ_LOG, _A.MEND_REQUEST)
    ),
    # the code
    "exit_N": Reason("code", "Its code ended with exit code N.", (_A.READ_LOG, _A.RETRY)),
    "exception": Reason("code", "Its code raised an error.", (_A.READ_LOG, _A.MEND_REQUEST)),
    "failed": Reason("code", "Its code says that it failed.", (_A.READ_LOG, _A.MEND_REQUEST)),
    "result_invalid": Reason(
        "code", "Its result.json is not what a step must leave.", (_A.READ_LOG, _A.TELL_AUTHOR)
    ),
    # what it left
    "output_missing": Reason(
        "artifact", "It ended well and left no file it had declared.", (_A.READ_LOG, _A.TELL_AUTHOR)
    ),
    "output_refused": Reason(
        "artifact", "What it left is no plain file of the declared size.", (_A.TELL_AUTHOR,)
    ),
    "output_changed": Reason(
        "artifact", "What it left was still written to after its end.", (_A.RETRY, _A.TELL_AUTHOR)
    ),
    "artifact_refused": Reason(
        "artifact", "A second sandbox could not load or run what it left.", (_A.TELL_AUTHOR,)
    ),
    "parity_failed": Reason(
        "artifact",
        "The exported graph does not predict what the trained model does.",
        (_A.TELL_AUTHOR,),
    ),
    # where it was to run
    "start_failed": Reason(
        "environment", "The sandbox could not be started.", (_A.LOOK_AT_HEALTH, _A.RETRY)
    ),
    "unknown_environment": Reason(
        "environment", "Its environment is not there any more.", (_A.LOOK_AT_HEALTH, _A.RETRY)
    ),
    "environment_broken": Reason(
        "environment", "Its environment cannot be built.", (_A.LOOK_AT_HEALTH, _A.RETRY)
    ),
    "no_base": Reason(
        "environment", "There is no base image to build its environment on.", (_A.LOOK_AT_HEALTH,)
    ),
    "python_missing": Reason(
        "environment", "No Python of the wanted version is on the host.", (_A.LOOK_AT_HEALTH,)
    ),
    "package_index_unreachable": Reason(
        "environment", "The package index does not answer.", (_A.LOOK_AT_HEALTH, _A.RETRY)
    ),
    "package_index_untrusted": Reason(
        "environment", "The certificate of the package index is not trusted.", (_A.LOOK_AT_HEALTH,)
    ),
    "wheel_missing": Reason(
        "environment", "The package index lacks a locked version.", (_A.LOOK_AT_HEALTH,)
    ),
    "wheel_hash_mismatch": Reason(
        "environment", "A package is not the one that was locked.", (_A.LOOK_AT_HEALTH, _A.RETRY)
    ),
    "requirements_refused": Reason(
        "request", "Its requirements hold what cannot be taken.", (_A.MEND_REQUEST,)
    ),
    "requirements_unresolvable": Reason(
        "request", "No set of wheels meets its requirements.", (_A.MEND_REQUEST,)
    ),
    "untrusted_refused": Reason(
        "environment", "Its backend does not confine untrusted code.", (_A.MEND_REQUEST,)
    ),
    "backend_rejected": Reason(
        "environment", "Its backend will never run it as it is.", (_A.MEND_REQUEST,)
    ),
    # the host
    "sandbox_lost": Reason(
        "host", "Its sandbox vanished without an exit code.", (_A.RETRY, _A.LOOK_AT_HEALTH)
    ),
    "engine_restarted": Reason(
        "host", "The engine or the host went away and took it along.", (_A.RETRY,)
    ),
    "storage_full": Reason("host", "There was no room left.", (_A.LOOK_AT_HEALTH, _A.RETRY)),
    "not_found": Reason("request", "Its dataset is gone.", (_A.MEND_REQUEST,)),
    "internal": Reason("daemon", "The daemon failed on it.", (_A.RETRY, _A.TELL_AUTHOR)),
}
"""Every code that the daemon itself gives."""

UNLISTED = Reason("code", "Its code gave this reason itself.", (_A.READ_LOG, _A.MEND_REQUEST))
FINE = Reason("", "", ())


def reason_for(state: State, code: str) -> Reason:
    """Return what is to be said of a job or step in this state with this reason code."""
    if not code:
        return (
            Reason("waiting", "It is about to start.", (_A.WAIT,))
            if state is State.QUEUED
            else FINE
        )
    if code.startswith("exit_"):
        return REASONS["exit_N"]
    return REASONS.get(code, UNLISTED)
