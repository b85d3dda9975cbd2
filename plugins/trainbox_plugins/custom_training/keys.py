"""The keys that tokens are checked with, read and judged once, at start.

A key serves exactly one algorithm. What a token's header says can thereby only choose among keys
or fail; it can never have an RSA public key used as an HMAC secret (RFC 8725 §2.1, §3.1).
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from trainbox_plugins.custom_training.config import Algorithm, Config

MIN_SECRET_BYTES = 32
"""RFC 7518 §3.2: a key of the size of the hash output or larger."""
MIN_DISTINCT_BYTES = 12
"""Of 32 random bytes about 30 differ; of 32 hexadecimal digits about 14."""
MIN_RSA_BITS = 2048
"""RFC 7518 §3.3."""
MAX_FILE_BYTES = 1024**2
_KINDS: Mapping[str, Algorithm] = {"oct": "HS256", "RSA": "RS256", "OKP": "EdDSA"}


class BadKey(ValueError):
    """A key that must not be used; the message says which file and why, never the key."""


@dataclass(frozen=True)
class Key:
    """A key and the one algorithm it is for."""

    kid: str | None
    algorithm: Algorithm
    value: Any = field(repr=False)


def read_keys(config: Config) -> tuple[Key, ...]:
    """Return the configured keys.

    Raises:
        BadKey: a file that cannot be read, or a key that is weak, private or of another kind.
    """
    if config.jwks_file is not None:
        return tuple(_from_set(config.jwks_file))
    assert config.key_file is not None
    assert config.algorithm is not None
    path = config.key_file
    raw = _read(path, secret=config.algorithm == "HS256")
    if config.algorithm == "HS256":
        value: Any = _secret(raw.rstrip(b"\r\n"), path)
    else:
        value = _public(_pem(raw, path), config.algorithm, path)
    return (Key(None, config.algorithm, value),)


def _read(path: Path, *, secret: bool) -> bytes:
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(path.stat().st_mode)
            raw = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadKey(f"{path}: {error.strerror}") from error
    if secret and mode & stat.S_IRWXO:
        raise BadKey(f"{path} is open to all users of this machine: chmod o= {path}")
    if len(raw) > MAX_FILE_BYTES:
        raise BadKey(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    return raw


def _secret(raw: bytes, path: Path) -> bytes:
    if raw.lstrip().startswith((b"-----BEGIN", b"ssh-", b"{")):
        raise BadKey(f"{path} holds a key of another kind; HS256 takes a secret nobody else has")
    if len(raw) < MIN_SECRET_BYTES or len(set(raw)) < MIN_DISTINCT_BYTES:
        raise BadKey(
            f"the secret in {path} can be guessed: HS256 takes {MIN_SECRET_BYTES} random bytes or "
            "more, such as those of 'openssl rand -hex 32'"
        )
    return raw


def _pem(raw: bytes, path: Path) -> Any:
    if b"PRIVATE KEY" in raw:
        raise BadKey(f"{path} holds a private key; give the public one, 'openssl pkey -pubout'")
    try:
        return load_pem_public_key(raw)
    except ValueError as error:
        raise BadKey(f"{path} holds no public key in PEM") from error


def _public(key: Any, algorithm: Algorithm, path: Path) -> Any:
    wanted = RSAPublicKey if algorithm == "RS256" else Ed25519PublicKey
    if not isinstance(key, wanted):
        raise BadKey(f"{path} holds a key that is not for {algorithm}")
    if isinstance(key, RSAPublicKey) and key.key_size < MIN_RSA_BITS:
        raise BadKey(
            f"{path} holds an RSA key of {key.key_size} bits; {MIN_RSA_BITS} are the least"
        )
    return key


def _from_set(path: Path) -> Iterator[Key]:
    listed = _listed(path)
    kids: set[str | None] = set()
    for one in listed:
        key = _from_jwk(one, path)
        if key.kid in kids or (key.kid is None and len(listed) > 1):
            raise BadKey(f"{path}: of several keys each needs a kid of its own")
        kids.add(key.kid)
        yield key


def _listed(path: Path) -> list[Mapping[str, Any]]:
    raw = _read(path, secret=False)
    try:
        listed = json.loads(raw)["keys"]
        usable = [one for one in listed if one.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise BadKey(f"{path} is no JSON Web Key Set") from error
    if not usable:
        raise BadKey(f"{path} holds no key for signatures")
    if any(one.get("kty") == "oct" for one in usable):
        _read(path, secret=True)
    return usable


def _from_jwk(one: Mapping[str, Any], path: Path) -> Key:
    kid = one.get("kid")
    name = f"{path}, key {str(kid)[:80]!r}"
    algorithm = _KINDS.get(str(one.get("kty")))
    if algorithm is None or one.get("alg", algorithm) != algorithm:
        raise BadKey(f"{name}: only HS256, RS256 and EdDSA are known; take it out of the set")
    if not (kid is None or isinstance(kid, str)):
        raise BadKey(f"{name}: kid must be text")
    if "d" in one:
        raise BadKey(f"{name} is private; give the public part alone")
    try:
        value = jwt.PyJWK(dict(one), algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise BadKey(f"{name} cannot be read") from error
    place = Path(name)
    checked = _secret(value, place) if algorithm == "HS256" else _public(value, algorithm, place)
    return Key(kid, algorithm, checked)
