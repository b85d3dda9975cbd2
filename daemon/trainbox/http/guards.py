"""Refusals that need only the request's header: foreign hosts, other sites, a stopping daemon.

A page in a browser on the same machine can reach a loopback port. Host names stop DNS rebinding,
``Origin`` and ``Sec-Fetch-Site`` stop cross-site requests; both stand beside the bearer token.
"""

from __future__ import annotations

import re

from aiohttp import hdrs, web

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(?::\d{1,5})?")


def check_host(given: str, hosts: frozenset[str]) -> None:
    """Let only known names of this daemon through.

    Raises:
        web.HTTPMisdirectedRequest: 421 (RFC 9110 §15.5.20).
    """
    match = _HOST.fullmatch(given)
    if match is None or match[1].lower().rstrip(".") not in hosts:
        raise web.HTTPMisdirectedRequest(
            text=f"This daemon does not answer for host {given[:200]!r}; "
            "add the name to allowed_hosts if it should."
        )


def check_site(request: web.BaseRequest, own: frozenset[str]) -> None:
    """Refuse what a browser sends on behalf of another site.

    Args:
        request: with its header.
        own: origins of this daemon's own pages.

    Raises:
        web.HTTPForbidden: 403.
    """
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin not in own:
        raise web.HTTPForbidden(
            text=f"Requests from origin {origin[:200]!r} are refused; "
            "behind a proxy, set public_url."
        )
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None and site not in {"same-origin", "none"}:
        raise web.HTTPForbidden(text=f"Requests that a browser marks {site[:40]!r} are refused.")


def check_drain(request: web.BaseRequest, *, draining: bool, retry_after_s: int) -> None:
    """Refuse changes while the daemon stops; reading goes on.

    Raises:
        web.HTTPServiceUnavailable: 503 with ``Retry-After`` in seconds.
    """
    if draining and request.method not in SAFE_METHODS:
        raise web.HTTPServiceUnavailable(
            text="The daemon is stopping and takes no changes; running jobs go on.",
            headers={hdrs.RETRY_AFTER: str(retry_after_s)},
        )
