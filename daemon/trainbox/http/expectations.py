"""``Expect: 100-continue`` (RFC 9110 §10.1.1): the client asks before it sends a body."""

from __future__ import annotations

from aiohttp import hdrs, web

from trainbox.http.problems import respond
from trainbox.ids import random_hex
from trainbox_sdk.surfaces import REQUEST_ID


async def answer_expectation(request: web.Request) -> web.StreamResponse | None:
    """Tell the client to go on, or refuse an expectation that nobody knows.

    aiohttp asks this before the gate, so a refusal is answered here.
    """
    wanted = request.headers.get(hdrs.EXPECT, "")
    if request.version < (1, 1):
        return None
    if wanted.lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # aiohttp counts those bytes as a part of the answer, and would not answer any more.
        request.writer.output_size = 0
        return None
    request[REQUEST_ID] = random_hex(8)
    return respond(417, f"This daemon does not know 'Expect: {wanted[:80]}'.", request)
