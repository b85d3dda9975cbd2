"""Tokens: who may do what."""

from __future__ import annotations

from typing import Protocol

from trainbox_sdk.calls.base import Principal


class TokenCalls(Protocol):
    """What can be done with credentials."""

    async def authenticate(self, token: str) -> Principal:
        """Return who this bearer token belongs to.

        Raises:
            Unauthenticated: unknown, revoked or malformed.
        """
