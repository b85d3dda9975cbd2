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
        The request to hand on: where the header states no honest size, a copy that counts.

    Raises:
        web.HTTPRequestEntityTooLarge: 413.
        web.HTTPRequestTimeout: 408; the body stopped half-way.
    """
    if not request.can_read_body:
        return request
    declared = request.content_length
    if declared is not None and declared > limit:
        raise web.HTTPRequestEntityTooLarge(max_size=limit, actual_size=declared)
    if declared is None or hdrs.CONTENT_ENCODING in request.headers:
        request = request.clone(client_max_size=limit)
    if request.content.is_eof():  # small bodies come with their header: nothing to wait for
        await request.read()
        return request
    try:
        async with asyncio.timeout(timeout_s):
            await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(
            text=f"The request body did not arrive within {timeout_s:g} s."
        ) from None
    return request
