"""What the rooms tell of themselves while they work, and nobody there knows who listens.

``trainbox.metrics`` listens in a daemon. A room that is given none tells :data:`NOBODY`.
"""

from __future__ import annotations


class Recorder:
    """Hears what happened; this one forgets it. Calls are cheap, never block and never raise.

    Every word handed in as text is one of few: never an id, a name or a message of a user.
    """

    def committed(self, writes: int, seconds: float) -> None:
        """Hear of one commit of the store; called on the writer's thread.

        Args:
            writes: callers that shared it.
            seconds: from its BEGIN until the disk had it.
        """

    def submitted(self, seconds: float) -> None:
        """Hear how long a submission's write waited and took."""

    def transition(self, before: str, after: str) -> None:
        """Hear of a step that moved; ``before`` is empty for a new one."""

    def adopted(self, result: str) -> None:
        """Hear of a step found active at a look: ``adopted``, or ``stranded`` without backend."""

    def orphan_removed(self) -> None:
        """Hear of a sandbox removed because no attempt owned it."""

    def backend_call(self, backend: str, op: str, result: str, seconds: float) -> None:
        """Hear of one call of a backend.

        ``result`` is ``ok``, ``unavailable``, ``cancelled``
        or ``error``.
        """

    def predicted(self, seconds: float, result: str) -> None:
        """Hear of one answered prediction request; ``result`` is ``ok`` or ``error``."""

    def predict_batch(self, rows: int) -> None:
        """Hear of one run of a model, and how many rows shared it."""

    def stream_opened(self) -> None:
        """Hear of a new listener to events."""

    def stream_closed(self) -> None:
        """Hear that a listener is gone, for whatever reason."""

    def stream_dropped(self, reason: str) -> None:
        """Hear of a stream that the daemon cut: ``stopping`` or ``stalled``."""

    def webhook_delivery(self, result: str, seconds: float) -> None:
        """Hear of one attempt to deliver; ``result`` is ``ok``, ``refused`` or ``failed``."""

    def heartbeat(self, *, alive: bool) -> None:
        """Hear of a round through loop and store, and whether it came back."""

    def loop_lag(self, seconds: float) -> None:
        """Hear how much later than asked the event loop woke a sleeper."""


NOBODY = Recorder()
"""Where nobody listens."""
