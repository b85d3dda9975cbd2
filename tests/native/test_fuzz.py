"""Whatever comes in, an answer goes out that is not a failure of ours."""

import asyncio
import json

import aiohttp
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trainbox.http import HttpConfig, build_app
from trainbox_plugins.native.routes import NativeSurface
from trainbox_sdk.testing.fake_engine import TOKEN, FakeEngine

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3)
    ),
    max_leaves=8,
)
words = st.sampled_from(
    ["task", "dataset_id", "params", "resources", "priority", "name", "labels", "backend", "rows",
     "version", "cpus", "memory_bytes", "target", "trials"]
)  # fmt: skip
bodies = st.dictionaries(words, values, max_size=5) | values
raw = st.binary(max_size=40) | bodies.map(lambda body: json.dumps(body).encode())
header = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30).map(str.strip)
query = st.dictionaries(
    st.sampled_from(["limit", "after", "state", "offset", "format", "name", "follow", "task"]),
    st.text(max_size=6),
    max_size=3,
)
GENTLE = settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)


async def statuses(requests):
    engine = FakeEngine()
    app = build_app(engine, [NativeSurface()], HttpConfig())
    auth = {"Authorization": f"Bearer {TOKEN}"}
    found = []
    async with TestServer(app) as server, aiohttp.ClientSession(server.make_url("/")) as session:
        for method, path, options in requests:
            options["headers"] = auth | options.get("headers", {})
            async with session.request(method, path, **options) as reply:
                await reply.read()
                found.append((reply.status, method, path, options))
    engine.close()
    return [each for each in found if each[0] >= 500]


@GENTLE
@given(st.lists(raw, min_size=5, max_size=20))
def test_any_body(sent):
    paths = [
        ("POST", "/v1/jobs"),
        ("POST", "/v1/models/x/predict"),
        ("PUT", "/v1/models/x/aliases/y"),
        ("POST", "/v1/datasets?format=csv"),
    ]
    json_type = {"Content-Type": "application/json"}
    requests = [
        (method, path, {"data": body, "headers": json_type})
        for body in sent
        for method, path in paths
    ]
    assert asyncio.run(statuses(requests)) == []


@GENTLE
@given(st.lists(st.binary(max_size=60), min_size=5, max_size=20))
def test_any_form(sent):
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    shapes = [b"%b", b"--b\r\n%b\r\n--b--\r\n", b"--b\r\nContent-Disposition: form-data; name=\"file\"; "
              b"filename=\"a.csv\"\r\n\r\n%b\r\n--b--"]  # fmt: skip
    requests = [
        ("POST", "/v1/datasets", {"data": shape.replace(b"%b", body), "headers": headers})
        for body in sent
        for shape in shapes
    ]
    assert asyncio.run(statuses(requests)) == []


@GENTLE
@given(st.lists(st.tuples(query, header, header), min_size=5, max_size=20))
def test_any_query_and_header(sent):
    paths = ["/v1/jobs", "/v1/datasets", "/v1/models", "/v1/tasks", "/v1/plugins"]
    requests = []
    for params, one, two in sent:
        headers = {"Idempotency-Key": one, "Last-Event-ID": two, "Range": one, "Accept": two}
        requests += [("GET", path, {"params": params, "headers": headers}) for path in paths]
        once = {"params": params | {"follow": "false"}, "headers": headers}
        requests.append(("GET", "/v1/events", once))
        posted = headers | {"Content-Type": "application/json"}
        requests.append(("POST", "/v1/jobs", {"data": b"{}", "headers": posted}))
    assert asyncio.run(statuses(requests)) == []
