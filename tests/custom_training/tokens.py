"""Keys and tokens of an identity provider that is only there in tests."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt

SECRET = "c3b1f6a0d9e84772b5a0c1d2e3f4a5b6"
ISSUER = "https://login.example.test/"
AUDIENCE = "trainbox"
ORGANISATION = "user-1"
"""Whom the fake engine's first token speaks for, too."""


def write_secret(folder: Path) -> Path:
    path = folder / "jwt.secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


def claims(**more: Any) -> dict[str, Any]:
    found = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "ada@example.test",
        "org_id": ORGANISATION,
        "permissions": ["model:*", "dataset:*"],
        "exp": int(time.time()) + 600,
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def token(key: Any = SECRET, algorithm: str = "HS256", headers: Any = None, **more: Any) -> str:
    return jwt.encode(claims(**more), key, algorithm, headers=headers)


def bearer(**more: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {token(**more)}"}
