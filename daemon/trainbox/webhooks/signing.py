"""Signatures of Standard Webhooks 1.0.0 (https://www.standardwebhooks.com, "Signature scheme")."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"


def signature(secret: str, message_id: str, timestamp: int, body: str) -> str:
    """Return ``v1,`` and the HMAC-SHA256 of ``id.timestamp.body``, in base64."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.{body}".encode()
    digest = hmac.new(key, signed, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def headers(
    secrets: Sequence[str], message_id: str, timestamp: int, body: str
) -> Mapping[str, str]:
    """Return the three headers; several secrets give several signatures, one of which will do."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(
            signature(secret, message_id, timestamp, body) for secret in secrets
        ),
    }
