"""Bearer tokens of this dialect: JSON Web Tokens (RFC 7519) of an identity provider.

An organisation owns, a person acts: what the token says becomes a principal whose ``id`` is the
organisation, and the permissions stay with the surface.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import jwt
from aiohttp import hdrs, web

from trainbox_plugins.custom_training.config import Config
from trainbox_plugins.custom_training.keys import Key, read_keys
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import Forbidden, Unauthenticated

MAX_TOKEN_BYTES = 8192
"""An honest token is one or two thousand bytes long; headers of this server end at 8 KiB."""
SCOPES = frozenset({"submit", "read", "predict"})
SYSTEM = Principal("custom_training", "the custom-training surface", frozenset({"admin"}))
"""Reads the audit log, whose owner is the daemon; answers are cut to one model's lines."""

_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_UNSEEN = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
"""Control characters, and halves of surrogate pairs, which no UTF-8 holds."""
_WHO = re.compile(rf"[^\s{_UNSEEN}](?:[^{_UNSEEN}]{{0,198}}[^\s{_UNSEEN}])?")
_YEAR_10000 = 253_402_300_800
_RESERVED = frozenset({"daemon", SYSTEM.id})
"""Names the audit log uses for others."""
_UNREADABLE = (jwt.PyJWTError, ArithmeticError, ValueError, TypeError, LookupError, RecursionError)
"""What PyJWT raises over claims and headers that are not what they should be."""


@dataclass(frozen=True)
class Caller:
    """Who asks, and what the token allows.

    Attributes:
        who: the organisation, acting through a person.
        permissions: such as ``model:train``; ``model:*`` and ``*`` stand for many.
    """

    who: Principal
    permissions: frozenset[str]

    def require(self, permission: str) -> None:
        """Refuse a token that lacks a permission.

        Raises:
            Forbidden: naming it.
        """
        subject = permission.partition(":")[0]
        if self.permissions.isdisjoint({permission, f"{subject}:*", "*"}):
            raise Forbidden(f"This token lacks the permission {permission!r}.")


class Doorman:
    """Checks tokens with the keys of the configuration.

    Raises:
        BadKey: a key that must not be used.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._keys = read_keys(config)

    async def caller(self, engine: Engine, request: web.BaseRequest) -> Caller:
        """Return who asks.

        Raises:
            Unauthenticated: no token, or one that is not good, or no more.
            RateLimited: too many requests, or too many bad tokens.
        """
        found: list[Caller] = []

        def check() -> Principal:
            found.append(self.read(bearer(request)))
            return found[0].who

        await engine.admit(check)
        return found[0]

    def read(self, token: str) -> Caller:
        """Return whose token this is.

        Raises:
            Unauthenticated: it is not good; the sentence never quotes it.
        """
        if len(token) > MAX_TOKEN_BYTES or not _COMPACT.fullmatch(token):
            _refuse("This bearer token is no JSON Web Token.")
        try:
            claims = self._claims(token)
        except jwt.ExpiredSignatureError:
            _refuse("This token has expired.", "Get a new one from your identity provider.")
        except jwt.ImmatureSignatureError:
            _refuse("This token is not valid yet.")
        except jwt.InvalidAudienceError:
            _refuse("This token is for another audience.")
        except jwt.InvalidIssuerError:
            _refuse("This token is from another issuer.")
        except jwt.MissingRequiredClaimError as error:
            _refuse(f"This token lacks the claim {error.claim!r}.")
        except _UNREADABLE:
            _refuse("This token cannot be verified.")
        return self._caller(token, claims)

    def _claims(self, token: str) -> Mapping[str, Any]:
        config = self._config
        key = self._key(jwt.get_unverified_header(token))
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key.value,
            algorithms=[key.algorithm],
            issuer=config.issuer,
            audience=config.audience,
            leeway=config.leeway_s,
            options={
                "require": [
                    "exp",
                    *(["iss"] if config.issuer else []),
                    *(["aud"] if config.audience else []),
                    config.organisation_claim,
                    config.user_claim,
                ]
            },
        )
        _require_times(claims)
        return claims

    def _key(self, header: Mapping[str, Any]) -> Key:
        """Return the key a header means; its ``alg`` must be the key's own.

        Raises:
            jwt.InvalidTokenError: none, or extensions that must be understood (RFC 7515 §4.1.11).
        """
        if "crit" in header or "b64" in header:
            raise jwt.InvalidTokenError
        kid, keys = header.get("kid"), self._keys
        if len(keys) > 1 or (kid is not None and keys[0].kid is not None):
            keys = tuple(key for key in keys if key.kid == kid)
        if len(keys) != 1 or header.get("alg") != keys[0].algorithm:
            raise jwt.InvalidTokenError
        return keys[0]

    def _caller(self, token: str, claims: Mapping[str, Any]) -> Caller:
        organisation = self._named(claims, self._config.organisation_claim)
        user = self._named(claims, self._config.user_claim)
        mark = hashlib.sha256(token.encode()).hexdigest()[:16]
        who = Principal(organisation, user, SCOPES, token_id=f"jwt:{mark}", user=user)
        return Caller(who, self._permissions(claims))

    def _named(self, claims: Mapping[str, Any], claim: str) -> str:
        value = claims[claim]
        if not isinstance(value, str) or not _WHO.fullmatch(value) or value in _RESERVED:
            _refuse(f"The claim {claim!r} of this token names nobody.")
        return value

    def _permissions(self, claims: Mapping[str, Any]) -> frozenset[str]:
        given = claims.get(self._config.permissions_claim, self._config.default_permissions)
        if isinstance(given, str):
            given = given.split()
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            _refuse(
                f"The claim {self._config.permissions_claim!r} of this token is no list of words."
            )
        return frozenset(given)


def _require_times(claims: Mapping[str, Any]) -> None:
    """Refuse times that are no NumericDate (RFC 7519 §2), which PyJWT reads what it can from.

    Raises:
        jwt.InvalidTokenError: a text, a truth value, or after the year 9999.
    """
    for name in ("exp", "nbf", "iat"):
        at = claims.get(name, 0)
        if isinstance(at, bool) or not isinstance(at, int | float) or not 0 <= at < _YEAR_10000:
            raise jwt.InvalidTokenError


def bearer(request: web.BaseRequest) -> str:
    """Return the token of a request (RFC 6750 §2.1).

    Raises:
        Unauthenticated: no header, several, or another scheme.
    """
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not given:
        raise Unauthenticated(
            "This request carries no token.",
            code="missing_token",
            hint="Send 'Authorization: Bearer <JWT>'.",
        )
    scheme, _, token = given[0].strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer":
        _refuse("The Authorization header is not 'Bearer <JWT>'.")
    return token.strip()


def _refuse(message: str, hint: str = "") -> NoReturn:
    raise Unauthenticated(message, hint=hint) from None
