"""From the SDK's views of tokens and acts to the words of ``/v1``."""

from __future__ import annotations

from typing import cast

from trainbox_plugins.native.tokens import wire
from trainbox_sdk.calls.tokens import AuditEntry, AuditVerdict, IssuedToken, TokenView


def token(view: TokenView) -> wire.TokenOut:
    """Return a token without its secret."""
    fields = {**vars(view), "previous_until_at": view.previous_until}
    del fields["previous_until"]
    return cast("wire.TokenOut", fields)


def issued(made: IssuedToken) -> wire.IssuedTokenOut:
    """Return a token with its text."""
    return {**token(made.token), "token": made.secret}


def act(entry: AuditEntry) -> wire.AuditOut:
    """Return one act."""
    return cast("wire.AuditOut", dict(vars(entry)))


def verdict(found: AuditVerdict) -> wire.AuditVerdictOut:
    """Return what was found."""
    return cast("wire.AuditVerdictOut", dict(vars(found)))
