"""Whether the daemon takes new work: an operator empties it before a reboot or an upgrade."""

from __future__ import annotations

from trainbox_sdk.errors import Unavailable

SENTENCE = "the daemon is draining: it takes no new job and starts none that wait"


class Drain:
    """The switch. Not kept over a restart: a daemon that starts, works."""

    def __init__(self) -> None:
        self.draining = False

    def require_open(self) -> None:
        """Refuse new work while draining.

        Raises:
            Unavailable: retryable, since the work may be taken again later.
        """
        if self.draining:
            raise Unavailable(
                SENTENCE,
                code="draining",
                hint="send it again later; an admin ends this with POST /v1/admin/undrain",
            )
