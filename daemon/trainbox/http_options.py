"""From settings to what the HTTP layer is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from trainbox.http.config import HttpConfig
from trainbox.http.unix_socket import UnixSocket
from trainbox.settings import Settings
from trainbox_sdk.calls.tokens import SCOPES
from trainbox_sdk.engine import Principal
from trainbox_sdk.errors import ValidationFailed

ORDINARY = ("submit", "read", "predict")
"""Scopes of a trusted user for whom none are named."""


def http_config(settings: Settings) -> HttpConfig:
    """Return the HTTP layer's limits.

    Raises:
        ValidationFailed: a trusted user's scope is none.
    """
    rates = ("reads", "changes", "uploads", "predict", "auth_failures")
    return HttpConfig(
        allowed_hosts=frozenset(settings.allowed_hosts),
        access_log=settings.access_log,
        metrics_public=settings.metrics_public,
        body_timeout_s=settings.body_timeout_s,
        idle_timeout_s=settings.idle_timeout_s,
        header_timeout_s=settings.header_timeout_s,
        min_body_bytes_per_s=settings.min_body_bytes_per_s,
        write_stall_s=settings.write_stall_s,
        max_connections=settings.max_connections,
        max_connections_per_peer=settings.max_connections_per_peer,
        max_in_flight=settings.max_in_flight,
        max_body_memory_bytes=settings.max_body_memory_bytes,
        rates={name: getattr(settings, f"rate_limit_{name}") for name in rates},
        trusted_proxies=tuple(settings.trusted_proxies),
        public_url=settings.public_url,
        unix_trust=trusted_users(settings.unix_socket_trust),
    )


def unix_socket(settings: Settings) -> UnixSocket | None:
    """Return where else to listen; None for nowhere."""
    if not settings.unix_socket:
        return None
    return UnixSocket(Path(settings.unix_socket), settings.unix_socket_group)


def trusted_users(given: Sequence[str]) -> Mapping[int, Principal]:
    """Return who each user is, from ``1000=ann`` or ``0=local:admin``.

    Raises:
        ValidationFailed: a scope is none.
    """
    users = {}
    for each in given:
        uid, _, rest = each.partition("=")
        subject, _, named = rest.partition(":")
        scopes = frozenset(named.split("+") if named else ORDINARY)
        if not subject or not scopes <= set(SCOPES):
            raise ValidationFailed(
                f"unix_socket_trust: {each!r} is not uid=subject or uid=subject:scope+scope",
                hint=f"scopes are {', '.join(SCOPES)}",
            )
        users[int(uid)] = Principal(subject, f"uid {uid}", scopes)
    return users
