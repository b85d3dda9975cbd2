"""Where the request at hand came from, for the audit log: set at the door, read at the store.

A context variable, so that no call between the two has to hand it on; each request has its own.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """One request.

    Attributes:
        request_id: of the request; empty for what the daemon does by itself.
        peer: address of the caller, or ``unix:uid=1000``.
        token_id: the token it came with, once that is known.
    """

    request_id: str = ""
    peer: str = ""
    token_id: str = ""


NOWHERE = Origin()
ORIGIN: ContextVar[Origin] = ContextVar("origin", default=NOWHERE)
