"""Reading request bodies: never more than the route allows, never for ever."""

from __future__ import annotations

import asyncio

from aiohttp import hdrs, web


async def read_capped(request: web.Request, limit: int, timeout_s: float) -> web.Request:
    """Read a whole body into the request; the handler's ``read()`` then costs nothing.

    Args:
        request: with its body unread.
        limit: largest body in bytes, after decompression.
        timeout_s: for the whole body to arrive.

    Returns:
        The request to hand on: where the header states no honest size, or more than aiohttp
        would take, a copy that counts up to the limit.

    Raises:
        web.HTTPRequestEntityTooLarge: 413.
        web.HTTPRequestTimeout: 408; the body stopped half-way.
        web.HTTPBadRequest: 400; it is not packed as its ``Content-Encoding`` says.
    """
    if not request.can_read_body:
        return request
    declared = request.content_length
    if declared is not None and declared > limit:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=declared)
    if (
        declared is None
        or hdrs.CONTENT_ENCODING in request.headers
        or declared > request.client_max_size  # aiohttp's own limit: 1 MiB
    ):
        request = request.clone(client_max_size=limit)
    try:
        if request.content.is_eof():  # small bodies come with their header: nothing to wait for
            await request.read()
            return request
        async with asyncio.timeout(timeout_s):
            await request.read()
    except web.RequestPayloadError:
        encoding = request.headers.get(hdrs.CONTENT_ENCODING, "")
        raise web.HTTPBadRequest(
            text=f"The request body cannot be unpacked as Content-Encoding {encoding[:80]!r} says."
        ) from None
    except TimeoutError:
        raise web.HTTPRequestTimeout(
            text=f"The request body did not arrive within {timeout_s:g} s."
        ) from None
    return request
