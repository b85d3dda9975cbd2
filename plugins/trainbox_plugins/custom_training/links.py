"""Links that need no token for a while: an HMAC over what they open and until when.

The key is 32 random bytes in a document of the surface, made at the first link; it outlives the
daemon's restarts, and so do links.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

from trainbox_plugins.custom_training.credentials import SYSTEM
from trainbox_plugins.custom_training.names import SPACE
from trainbox_plugins.custom_training.records import KEY, key
from trainbox_sdk.documents import DocumentWrite
from trainbox_sdk.engine import Engine
from trainbox_sdk.errors import Conflict, Forbidden

KEY_ID = "links"


class Links:
    """Signs links and checks them."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._key: bytes | None = None

    async def sign(self, model_id: str, artifact_id: str, expires: int) -> str:
        """Return the signature of a link.

        Args:
            model_id: whose file.
            artifact_id: the file.
            expires: seconds since 1970.
        """
        return _mac(await self._secret(), model_id, artifact_id, expires)

    async def require(self, model_id: str, artifact_id: str, expires: int, signature: str) -> None:
        """Refuse a link that is not ours, or no longer good.

        Raises:
            Forbidden: it was changed, or its time is over.
        """
        right = _mac(await self._secret(), model_id, artifact_id, expires)
        if not hmac.compare_digest(right.encode(), signature.encode()):
            raise Forbidden("This link was not made by this daemon, or has been changed.")
        if time.time() >= expires:
            raise Forbidden("This link has expired; ask for a new one.")

    async def _secret(self) -> bytes:
        if self._key is None:
            self._key = await self._kept() or await self._made()
        return self._key

    async def _kept(self) -> bytes | None:
        document = await self._engine.document(key(KEY, KEY_ID))
        return bytes.fromhex(document.body["secret"]) if document is not None else None

    async def _made(self) -> bytes:
        made = secrets.token_bytes(32)
        write = DocumentWrite(key(KEY, KEY_ID), SPACE, {"secret": made.hex()}, expect=0)
        try:
            await self._engine.write_documents(SYSTEM, [write])
        except Conflict:  # another request was first: its key is the one
            kept = await self._kept()
            if kept is None:
                raise
            return kept
        return made


def _mac(secret: bytes, model_id: str, artifact_id: str, expires: int) -> str:
    text = f"trainbox download v1\n{model_id}\n{artifact_id}\n{expires}"
    return hmac.new(secret, text.encode(), hashlib.sha256).hexdigest()
