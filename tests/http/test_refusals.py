"""What is refused before a handler: in one shape, wherever it is refused."""

import json

import pytest

MEMBERS = {
    "type", "title", "status", "detail", "code", "instance", "errors", "hint", "request_id",
}  # fmt: skip


def parse(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines[1:])}
    return int(lines[0].split()[1]), headers, body


GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
MALFORMED = {
    "two hosts": (GET + b"Host: localhost\r\n\r\n", "Duplicate 'Host'"),
    "both lengths": (
        b"POST /echo/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding can't be present",
    ),
    "a long header": (GET + b"Authorization: secret" + b"s" * 9000 + b"\r\n\r\n", "8190 bytes"),
    "a thousand headers": (
        GET + b"".join(b"X-%d: 1\r\n" % n for n in range(1000)) + b"\r\n",
        "Too many headers",
    ),
    "another version": (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", "Bad status line"),
    "a NUL in a header": (GET + b"X: a\x00b\r\n\r\n", "Invalid header"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\r\n\r\n", "HTTPS traffic"),
    "a chunk of no size": (
        b"POST /echo/small HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        "chunk size",
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_no_http_at_all(api, name):
    sent, said = MALFORMED[name]
    status, headers, body = parse(await api.raw(sent))
    problem = json.loads(body)
    assert status == problem["status"] == 400
    assert set(problem) == MEMBERS
    assert problem["code"] == "bad_request" and problem["hint"]
    assert said in problem["detail"]
    assert "secret" not in body.decode()
    assert headers["content-type"].startswith("application/problem+json")
    assert headers["x-request-id"] == problem["request_id"] != ""
    assert "keep-alive" not in headers.get("connection", "")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "route_not_found"),
        ("GET", "/healthz/", 404, "route_not_found"),
        ("POST", "/healthz", 405, "method_not_allowed"),
        ("OPTIONS", "/readyz", 405, "method_not_allowed"),
    ],
)
async def test_one_shape_for_what_no_surface_owns(api, method, path, status, code):
    reply = await api.http.request(method, path)
    problem = await reply.json(content_type="application/problem+json")
    assert (reply.status, problem["code"], set(problem)) == (status, code, MEMBERS)
    assert problem["hint"]
    if status == 405:
        assert set(reply.headers["Allow"].split(",")) == {"GET", "HEAD"}


async def test_a_slash_too_many_is_named(api):
    problem = await (await api.http.get("/healthz/")).json(content_type=None)
    assert "try /healthz." in problem["hint"]


async def test_another_host_says_what_to_do(api):
    reply = await api.http.get("/healthz", headers={"Host": "evil.example"})
    problem = await reply.json(content_type="application/problem+json")
    assert problem["code"] == "misdirected_request"
    assert "TRAINBOX_ALLOWED_HOSTS" in problem["hint"]


async def test_every_get_answers_head(api):
    for path in ("/echo", "/healthz", "/readyz", "/openapi.json", "/docs"):
        full, head = await api.http.get(path), await api.http.head(path)
        assert (head.status, await head.read()) == (full.status, b"")
        assert head.headers["Content-Length"] == str(len(await full.read()))


async def test_expectations(api):
    post = b"POST /echo/small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
    went_on = await api.raw(post + b"Connection: close\r\nExpect: 100-continue\r\n\r\nhi")
    assert went_on.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    refused = post + b"Connection: close\r\nExpect: a miracle\r\n\r\nhi"
    status, _, body = parse(await api.raw(refused))
    assert (status, json.loads(body)["code"]) == (417, "expectation_failed")
    assert "a miracle" in json.loads(body)["detail"]
