"""Requests that are wrong, huge or malicious, and what each is answered: one table, as data.

``docs/bad-input.md`` is made from it (``python tests/e2e/bad_requests.py`` prints the page); a test
sends every one to a real daemon. In paths, headers and bodies ``<dataset>``, ``<job>``, ``<model>``
(an id), ``<name>`` (of the model), ``<upload>``, ``<token>`` and ``<other>`` (someone else's data
set) stand for things that are there.
"""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field
from typing import Any

JSON = {"Content-Type": "application/json"}
CSV = {"Content-Type": "text/csv"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}
TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {"Content-Type": "application/offset+octet-stream", **TUS}
BINARY = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Bad:
    """One request.

    Attributes:
        what: it is, in words.
        status: of the answer; 0 where the connection is closed without one.
        said: part of the answer's text.
        token: whose token goes with it; empty for none.
        raw: the bytes themselves, where no client would send such a thing.
    """

    what: str
    method: str
    path: str
    status: int
    said: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    token: str = "admin"
    raw: bytes = b""


def raw(what: str, sent: bytes, status: int, said: str) -> Bad:
    return Bad(what, "", "", status, said, raw=sent)


def post(what: str, path: str, document: Any, status: int, said: str, **more: Any) -> Bad:
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return Bad(what, "POST", path, status, said, body, {**JSON, **more.pop("headers", {})}, **more)


def job(**change: Any) -> dict[str, Any]:
    whole = {"task": "regression", "dataset_id": "<dataset>", "params": {"target": "spend"}}
    return {**whole, **change}


def tensor(**change: Any) -> dict[str, Any]:
    age = {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [1]}
    plan = {"name": "plan", "shape": [1, 1], "datatype": "BYTES", "data": ["pro"]}
    return {"inputs": [{**age, **change}, plan]}


def form(*parts: tuple[str, bytes]) -> bytes:
    return b"".join(b"--b\r\n%b\r\n\r\n%b\r\n" % (h.encode(), v) for h, v in parts) + b"--b--\r\n"


HEAD = b"GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer <token>\r\n"
UPLOAD = (
    b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer <token>\r\n"
    b"Content-Type: application/json\r\n"
)
FILE = 'Content-Disposition: form-data; name="file"; filename="a.csv"'

TABLE: dict[str, list[Bad]] = {
    "The connection": [
        raw("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400, "HTTPS traffic"),
        raw("another version", b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 400, "status line"),
        raw("no Host", b"GET /v1/jobs HTTP/1.1\r\n\r\n", 400, "Host"),
        raw("two Hosts", HEAD + b"Host: evil.example\r\n\r\n", 400, "Duplicate 'Host'"),
        raw("a header of 20 kB", HEAD + b"X: " + b"x" * 20_000 + b"\r\n\r\n", 400, "8190 bytes"),
        raw(
            "5,000 headers",
            HEAD + b"".join(b"X-%d: 1\r\n" % n for n in range(5000)) + b"\r\n",
            400,
            "Too many headers",
        ),
        raw("a path of 20 kB", b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n", 400, "8190 bytes"),
        raw("a NUL in a header", HEAD + b"X: a\x00b\r\n\r\n", 400, "header value"),
        raw("a header folded over two lines", HEAD + b"X: a\r\n b\r\n\r\n", 400, "malformed"),
        raw("a space before a header's colon", HEAD + b"X : a\r\n\r\n", 400, "malformed"),
        raw(
            "Content-Length and Transfer-Encoding (smuggling)",
            UPLOAD + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n",
            400,
            "can't be present with Content-Length",
        ),
        raw(
            "two Content-Lengths (smuggling)",
            UPLOAD + b"Content-Length: 3\r\nContent-Length: 30\r\n\r\n{}\n",
            400,
            "Content-Length",
        ),
        raw("a negative Content-Length", UPLOAD + b"Content-Length: -1\r\n\r\n", 400, "malformed"),
        raw(
            "a transfer coding that nobody knows (smuggling)",
            UPLOAD + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
            400,
            "malformed",
        ),
        raw(
            "a chunk whose size is no number",
            UPLOAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n{}\r\n0\r\n\r\n",
            400,
            "chunk size",
        ),
        raw("half a header, then silence", HEAD + b"X-Half", 0, ""),
        raw("half a body, then silence", UPLOAD + b'Content-Length: 500\r\n\r\n{"task"', 408, "body"),
        raw(
            "an expectation that nobody knows",
            UPLOAD + b"Content-Length: 2\r\nExpect: a-miracle\r\nConnection: close\r\n\r\n{}",
            417,
            "a-miracle",
        ),
    ],
    "Who asks": [
        Bad("no token", "GET", "/v1/jobs", 401, "carries no token", token=""),
        Bad("an unknown token", "GET", "/v1/jobs", 401, "token", token="unknown"),
        Bad("an expired token", "GET", "/v1/jobs", 401, "token", token="expired"),
        Bad("a revoked token", "GET", "/v1/jobs", 401, "token", token="revoked"),
        Bad(
            "another scheme", "GET", "/v1/jobs", 401, "Bearer",
            headers={"Authorization": "Basic YTpi"}, token="",
        ),
        Bad("the token in the URL", "GET", "/v1/jobs?token=<token>", 401, "no token", token=""),
        Bad("submitting with a token that may read", "POST", "/v1/jobs", 403, "submit",
            json.dumps(job()).encode(), JSON, "reader"),
        Bad("reading with a token that may predict", "GET", "/v1/jobs", 403, "read",
            token="predictor"),
        Bad("making tokens without the scope admin", "POST", "/v1/tokens", 403, "admin",
            b'{"name": "x", "scopes": ["read"]}', JSON, "reader"),
        Bad("someone else's data set", "GET", "/v1/datasets/<dataset>", 404, "no dataset '<dataset>'", token="stranger"),
        Bad("someone else's job", "GET", "/v1/jobs/<job>", 404, "no job '<job>'", token="stranger"),
        Bad("the log of someone else's job", "GET", "/v1/jobs/<job>/logs", 404, "no job '<job>'",
            token="stranger"),
        Bad("cancelling someone else's job", "POST", "/v1/jobs/<job>/cancel", 404, "no job '<job>'",
            token="stranger"),
        Bad("someone else's model", "GET", "/v1/models/<model>/onnx", 404, "no model '<model>'", token="stranger"),
        Bad("predicting with someone else's model", "POST", "/v1/models/<model>/predict", 404, "no model '<model>'",
            b'{"rows": [{"age": 1}]}', JSON, "stranger"),
        Bad("deleting someone else's data set", "DELETE", "/v1/datasets/<dataset>", 404, "no dataset '<dataset>'",
            token="stranger"),
        Bad("a foreign Host (DNS rebinding)", "GET", "/v1/jobs", 421, "evil.example",
            headers={"Host": "evil.example"}),
        Bad("a page of another site", "POST", "/v1/jobs", 403, "origin", b"{}",
            {**JSON, "Origin": "https://evil.example"}),
        Bad("what a browser marks cross-site", "GET", "/v1/jobs", 403, "cross-site",
            headers={"Sec-Fetch-Site": "cross-site"}),
    ],
    "Paths and methods": [
        Bad("no such path", "GET", "/v1/nothing", 404, "is not a path"),
        Bad("a slash at the end", "GET", "/v1/jobs/", 404, "no slash at the end"),
        Bad("out of the path", "GET", "/v1/models/..%2f..%2fetc%2fpasswd/onnx", 404, "no model '../../etc/passwd'"),
        Bad("out of a model's files", "GET", "/v1/models/<model>/files/..%2f..%2ftrainbox.db",
            404, "has no file '../../trainbox.db'"),
        Bad("a NUL in an id", "GET", "/v1/jobs/%00", 404, "no job '"),
        Bad("half a surrogate in an id", "GET", "/v1/jobs/%ed%a0%80", 404, "no job '%ed%a0%80'"),
        Bad("an id of 3 kB", "GET", "/v1/jobs/" + "x" * 3000, 404, "no job 'xxx"),
        Bad("SQL for an id", "GET", "/v1/datasets/x'%20OR%20'1'%3D'1", 404, "no dataset "),
        Bad("a method the path lacks", "PUT", "/v1/jobs", 405, "GET"),
        Bad("a method of nobody", "BREW", "/v1/jobs", 400, "Invalid method"),
        Bad("TRACE", "TRACE", "/v1/jobs", 405, "does not take TRACE"),
    ],
    "Queries": [
        Bad("an unknown name", "GET", "/v1/jobs?staet=failed", 422, "Did you mean 'state'?"),
        Bad("an unknown state", "GET", "/v1/jobs?state=done", 422, "succeeded"),
        Bad("a limit of nought", "GET", "/v1/jobs?limit=0", 422, "greater than or equal to 1"),
        Bad("a limit that is no number", "GET", "/v1/jobs?limit=ten", 422, "integer"),
        Bad("a limit beyond every integer", "GET", "/v1/jobs?limit=" + "9" * 400, 422, "limit"),
        Bad("one name twice", "GET", "/v1/jobs?limit=1&limit=2", 422, "limit"),
        Bad("a cursor of one's own", "GET", "/v1/jobs?after=1", 422, "cursor"),
        Bad("seconds for a time", "GET", "/v1/audit?since=0.5", 422, "2026-01-31T12:00:00Z"),
        Bad("an order of nothing", "GET", "/v1/models?sort=beauty", 422, "sort"),
        Bad("a log before its start", "GET", "/v1/jobs/<job>/logs?offset=-1", 422, "offset"),
        Bad("an event id of one's own", "GET", "/v1/jobs/<job>/events", 422, "Last-Event-ID",
            headers={"Last-Event-ID": "x"}),
        Bad("a range beyond the file", "GET", "/v1/models/<model>/onnx", 416, "The file has ",
            headers={"Range": "bytes=999999999-"}),
        Bad("If-Match with another digest", "GET", "/v1/models/<model>/onnx", 412, "ETag",
            headers={"If-Match": '"sha256:00"'}),
    ],
    "JSON": [
        post("not JSON", "/v1/jobs", b"{", 400, "not JSON"),
        post("nothing at all", "/v1/jobs", b"", 400, "not JSON"),
        post("not UTF-8", "/v1/jobs", b'{"task": "\xff\xfe"}', 400, "not JSON"),
        post("a list for an object", "/v1/jobs", [], 422, "object"),
        post("one name twice", "/v1/jobs", b'{"task": "a", "task": "b"}', 400, "'task' twice"),
        post("100,000 brackets", "/v1/jobs", b"[" * 100_000, 400, "nested too deeply"),
        post("100,000 objects in one another", "/v1/jobs", b'{"params":' * 100_000, 400, "nested too deeply"),
        post("half a surrogate", "/v1/jobs", b'{"task": "\\ud800"}', 400, "not JSON"),
        post("a NUL in a name", "/v1/jobs", {"task": "a\0b"}, 422, "control characters"),
        post("NaN", "/v1/jobs", b'{"task": "a", "params": {"x": NaN}}', 422, "not a JSON number"),
        post("1e999", "/v1/jobs", b'{"task": "a", "params": {"x": 1e999}}', 422, "inf"),
        post("an integer of 5,000 digits", "/v1/jobs",
             b'{"task": "a", "priority": ' + b"9" * 5000 + b"}", 400, "thousands of digits"),
        post("2 MB where 1 MiB may come", "/v1/jobs", b" " * 2_000_000, 413, "1048576"),
        Bad("a gzip bomb of 200 MiB", "POST", "/v1/jobs", 413, "1048576",
            gzip.compress(b" " * 200 * 1024 * 1024, 9), {**JSON, "Content-Encoding": "gzip"}),
        Bad("not gzip at all", "POST", "/v1/jobs", 400, "cannot be unpacked",
            b"{}", {**JSON, "Content-Encoding": "gzip"}),
        Bad("a form where JSON is read (CSRF)", "POST", "/v1/jobs", 415, "application/json",
            b"task=x", {"Content-Type": "application/x-www-form-urlencoded"}),
        Bad("no content type", "POST", "/v1/jobs", 415, "application/json", b"{}"),
    ],
    "Jobs": [
        post("no task", "/v1/jobs", {}, 422, "Add this field"),
        post("a misspelt field", "/v1/jobs", job(taks="x"), 422, "Did you mean 'task'?"),
        post("a misspelt task", "/v1/jobs", job(task="regresion"), 422, "did you mean"),
        post("a misspelt parameter", "/v1/jobs", job(params={"target": "spend", "trails": 3}), 422,
             "did you mean 'trials'"),
        post("a column that is not there", "/v1/jobs", job(params={"target": "spent"}), 422,
             "did you mean 'spend'"),
        post("data that is not there", "/v1/jobs", job(dataset_id="ds_nothing"), 422, "datasets"),
        post("someone else's data", "/v1/jobs", job(dataset_id="<other>"), 422, "datasets",
             token="stranger-submit"),
        post("text for a number", "/v1/jobs", job(priority="high"), 422, "integer"),
        post("half a priority", "/v1/jobs", job(priority=0.5), 422, "integer"),
        post("a priority out of range", "/v1/jobs", job(priority=101), 422, "100"),
        post("4,096 processors", "/v1/jobs", job(resources={"cpus": 4096}), 422, "at most"),
        post("a byte of memory", "/v1/jobs", job(resources={"memory_bytes": 1}), 422, "memory"),
        post("65 labels", "/v1/jobs", job(labels={f"k{n}": "v" for n in range(65)}), 422, "64"),
        post("a key of 300 characters", "/v1/jobs", job(), 422, "Idempotency-Key",
             headers={"Idempotency-Key": "k" * 300}),
        Bad("cancelling what has ended", "POST", "/v1/jobs/<job>/cancel", 409, "succeeded"),
        Bad("retrying what succeeded", "POST", "/v1/jobs/<job>/retry", 409, "succeeded"),
        Bad("comparing with nothing", "GET", "/v1/jobs/compare", 422, "ids"),
    ],
    "Uploads": [
        Bad("an empty file", "POST", "/v1/datasets?name=x", 422, "empty", b"", CSV),
        Bad("a row with a cell too many", "POST", "/v1/datasets?name=x", 422, "row",
            b"a,b\n1,2\n1,2,3\n", CSV),
        Bad("one column twice", "POST", "/v1/datasets?name=x", 422, "'a'", b"a,a\n1,2\n", CSV),
        Bad("not UTF-8", "POST", "/v1/datasets?name=x", 422, "UTF-8", b"a\nna\xefve\n", CSV),
        Bad("a quote that never ends", "POST", "/v1/datasets?name=x", 422, "quot",
            b'a,b\n"1,2\n3,4\n', CSV),
        Bad("a NUL in a cell", "POST", "/v1/datasets?name=x", 422, "NUL", b"a,b\n1,\0\n", CSV),
        Bad("CSV that says it is Parquet", "POST", "/v1/datasets?name=x", 422, "Parquet",
            b"a,b\n1,2\n", {"Content-Type": "application/vnd.apache.parquet"}),
        Bad("a Parquet file of noughts", "POST", "/v1/datasets?name=x", 422, "Parquet",
            b"PAR1" + b"\0" * 40, {"Content-Type": "application/vnd.apache.parquet"}),
        Bad("more than may come", "POST", "/v1/datasets?name=x", 413, "200,000",
            b"a\n" + b"1\n" * 150_000, CSV),
        Bad("a gzip bomb of 100 MiB", "POST", "/v1/datasets?name=x", 413, "200 times its size",
            gzip.compress(b"a\n" + b"1\n" * 50_000_000, 9), CSV),
        Bad("a content type of nothing", "POST", "/v1/datasets?name=x", 415, "'image/png' does not say what the data is",
            b"x", {"Content-Type": "image/png"}),
        Bad("a form without a file", "POST", "/v1/datasets", 400, "no file part",
            form(('Content-Disposition: form-data; name="name"', b"x")), FORM),
        Bad("a form of 1,000 parts", "POST", "/v1/datasets", 400, "parts",
            form(*[('Content-Disposition: form-data; name="name"', b"x")] * 1000), FORM),
        Bad("a form with an unknown part", "POST", "/v1/datasets", 422, "nmae",
            form(('Content-Disposition: form-data; name="nmae"', b"x"), (FILE, b"a\n1\n")), FORM),
        Bad("a form's field of 2 kB", "POST", "/v1/datasets", 400, "bytes",
            form(('Content-Disposition: form-data; name="name"', b"x" * 40_000)), FORM),
        Bad("a form that goes on after its file", "POST", "/v1/datasets", 400, "after its file",
            form((FILE, b"a\n1\n"), ('Content-Disposition: form-data; name="name"', b"x")), FORM),
        Bad("a form that is cut off", "POST", "/v1/datasets", 400, "malformed",
            b"--b\r\n" + FILE.encode() + b"\r\n\r\na\n1\n", FORM),
        Bad("a form in a form", "POST", "/v1/datasets", 400, "a form within it",
            form(("Content-Type: multipart/mixed; boundary=c", b"--c--")), FORM),
        post("a file of the host outside the allowed folders", "/v1/datasets/import",
             {"path": "/etc/passwd", "format": "csv"},  422, "not under a folder"),
        post("out of an allowed folder", "/v1/datasets/import",
             {"path": "<roots>/../secret.csv", "format": "csv"},  422, "without '..'"),
    ],
    "Resumable uploads": [
        Bad("no version", "POST", "/v1/uploads", 412, "Tus-Resumable",
            headers={"Upload-Length": "5"}),
        Bad("another version", "POST", "/v1/uploads", 412, "1.0.0",
            headers={"Tus-Resumable": "0.2", "Upload-Length": "5"}),
        Bad("no length", "POST", "/v1/uploads", 422, "Upload-Length", headers=TUS),
        Bad("a negative length", "POST", "/v1/uploads", 422, "Upload-Length",
            headers={**TUS, "Upload-Length": "-5"}),
        Bad("more than may come", "POST", "/v1/uploads", 413, "200,000",
            headers={**TUS, "Upload-Length": "999999999", "Upload-Metadata": "format Y3N2"}),
        Bad("metadata that is no base64", "POST", "/v1/uploads", 422, "Upload-Metadata",
            headers={**TUS, "Upload-Length": "5", "Upload-Metadata": "name ***"}),
        Bad("no such upload", "PATCH", "/v1/uploads/nothing", 404, "no upload 'nothing'",
            b"x", {**CHUNK, "Upload-Offset": "0"}),
        Bad("the wrong offset", "PATCH", "/v1/uploads/<upload>", 409, "offset",
            b"x", {**CHUNK, "Upload-Offset": "3"}),
        Bad("more than was announced", "PATCH", "/v1/uploads/<upload>", 413, "more than the announced 50 bytes",
            b"x" * 100, {**CHUNK, "Upload-Offset": "0"}),
        Bad("another content type", "PATCH", "/v1/uploads/<upload>", 415, "offset+octet-stream",
            b"x", {**TUS, "Content-Type": "text/csv", "Upload-Offset": "0"}),
        Bad("someone else's upload", "PATCH", "/v1/uploads/<upload>", 404, "no upload '<upload>'",
            b"x", {**CHUNK, "Upload-Offset": "0"}, "stranger"),
    ],
    "Models and predictions": [
        post("promoting a version that is not there", "/v1/models/<name>/promote",
             {"version": 99, "alias": "champion", "reason": "x"}, 404, "99"),
        post("promoting nought", "/v1/models/<name>/promote", {"version": 0, "alias": "champion"},
             422, "greater than or equal to 1"),
        post("rolling back what was never promoted", "/v1/models/<name>/rollback",
             {"alias": "nobody", "reason": "x"}, 404, "nobody"),
        Bad("an alias that looks like a version", "PUT", "/v1/models/<name>/aliases/1", 422,
            "a letter first", b'{"version": 1}', JSON),
        Bad("a file the model lacks", "GET", "/v1/models/<model>/files/nothing", 404, "has no file 'nothing'"),
        post("no rows", "/v1/models/<model>/predict", {"rows": []}, 422, "at least 1"),
        post("a row without a column", "/v1/models/<model>/predict", {"rows": [{"age": 1}]}, 422,
             "plan"),
        post("text for a number", "/v1/models/<model>/predict",
             {"rows": [{"age": "old", "plan": "pro"}]}, 422, "age"),
        post("an object in a cell", "/v1/models/<model>/predict",
             {"rows": [{"age": {"a": 1}, "plan": "pro"}]}, 422, "age"),
        post("NaN in a cell", "/v1/models/<model>/predict",
             b'{"rows": [{"age": NaN, "plan": "pro"}]}', 422, "a number that JSON lacks"),
        post("a model that is not there", "/v1/models/nothing/predict", {"rows": [{"a": 1}]}, 404,
             "nothing"),
        post("tensors of another name", "/v2/models/<name>/infer", tensor(name="agee"), 400, "agee"),
        post("tensors of another type", "/v2/models/<name>/infer", tensor(datatype="FP99"), 400, "inputs.0.datatype"),
        post("a shape that is not the data's", "/v2/models/<name>/infer", tensor(shape=[9, 9]), 400,
             "shape"),
        post("a shape of a terabyte", "/v2/models/<name>/infer", tensor(shape=[10**6, 10**6]), 400,
             "shape"),
        post("a binary part that is not there", "/v2/models/<name>/infer",
             tensor(data=None, parameters={"binary_data_size": 10**9}), 400, "Invalid JSON",
             headers={"Inference-Header-Content-Length": "10"}),
        Bad("a header longer than the body", "POST", "/v2/models/<name>/infer", 400, "but the body has 2 bytes",
            b"{}", {**BINARY, "Inference-Header-Content-Length": "999"}),
        post("inference with a model that is not there", "/v2/models/nothing/infer", tensor(), 404,
             "nothing"),
        Bad("inference without a token", "POST", "/v2/models/<name>/infer", 401, "token",
            json.dumps(tensor()).encode(), JSON, ""),
    ],
    "Webhooks and tokens": [
        post("a URL of no kind", "/v1/webhooks", {"url": "gopher://x"}, 422, "http"),
        post("a file", "/v1/webhooks", {"url": "file:///etc/passwd"}, 422, "http"),
        post("the cloud's metadata address", "/v1/webhooks",
             {"url": "http://169.254.169.254/latest/meta-data"}, 422, "169.254.169.254"),
        post("this daemon itself", "/v1/webhooks", {"url": "<url>/v1/admin/drain"}, 422, "is this daemon's own"),
        post("this machine, in other digits", "/v1/webhooks", {"url": "http://2130706433/"}, 422,
             "loopback addresses are closed"),
        post("a password in the URL", "/v1/webhooks", {"url": "http://a:b@10.0.0.1/"}, 422, "must not hold a user or a password"),
        post("an event of nothing", "/v1/webhooks",
             {"url": "http://10.0.0.1/", "events": ["job.exploded"]}, 422, "job.exploded"),
        post("a scope of nothing", "/v1/tokens", {"name": "x", "scopes": ["root"]}, 422, "admin"),
        post("no scope", "/v1/tokens", {"name": "x", "scopes": []}, 422, "scopes"),
        post("a token for no time", "/v1/tokens",
             {"name": "x", "scopes": ["read"], "expires_in_s": 0}, 422, "expires_in_s"),
        post("a name of two lines", "/v1/tokens", {"name": "a\nb", "scopes": ["read"]}, 422,
             "printable"),
    ],
}  # fmt: skip


def cases() -> list[tuple[str, Bad]]:
    """Return every request with its id."""
    return [
        (f"{group.split()[0].lower()}-{number:02}", one)
        for group, ones in TABLE.items()
        for number, one in enumerate(ones, 1)
    ]


def page() -> str:
    """Return docs/bad-input.md."""
    count = len(cases())
    lines = [
        "# Bad input", "",
        f"{count} requests that are wrong, huge or malicious, and what each is answered. The table is made from "
        "`tests/e2e/bad_requests.py`; a test sends all of them to a daemon and then looks that nothing is "
        "half-written: no row, no file, no upload more than before, and the memory as it was.", "",
        "The message is a part of the answer's text; errors are problem documents (see [api.md](api.md#errors)), "
        "those of `/v2` in the words of the Open Inference Protocol.",
    ]  # fmt: skip
    for group, ones in TABLE.items():
        lines += ["", f"## {group}", "", "| sent | to | answer | it says |", "|---|---|---|---|"]
        for one in ones:
            to = f"`{one.method} {_short(one.path)}`" if one.method else "the socket"
            status = str(one.status) if one.status else "closed"
            lines.append(f"| {one.what} | {to} | {status} | {_cell(one.said)} |")
    return "\n".join(lines) + "\n"


def _short(path: str) -> str:
    return path if len(path) <= 60 else path[:57] + "…"


def _cell(text: str) -> str:
    return f"`{text}`" if text else ""


if __name__ == "__main__":
    print(page(), end="")
