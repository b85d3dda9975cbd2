"""Between the words of ``/v1/admin`` and the SDK's: pure functions."""

from __future__ import annotations

from trainbox_plugins.native.admin import wire
from trainbox_sdk.calls.daemon import DrainState


def drain(state: DrainState) -> wire.DrainOut:
    """Return the switch as ``/v1`` says it."""
    return {"draining": state.draining, "running": state.running, "queued": state.queued}
