"""The one error of this check."""

from __future__ import annotations

from trainbox_guest.run import GuestError


def refuse(message: str, hint: str = "") -> GuestError:
    """Return the refusal of an artifact."""
    return GuestError("onnx_invalid", message, hint)
