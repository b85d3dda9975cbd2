"""The routes' handlers: read the request, ask the engine, write the answer."""

from __future__ import annotations

from importlib import metadata

from aiohttp import hdrs, web

from trainbox_plugins.open_inference import binary, wire
from trainbox_sdk.engine import Engine, Principal
from trainbox_sdk.errors import Forbidden, Unauthenticated, ValidationFailed
from trainbox_sdk.models import ModelFilter
from trainbox_sdk.predictions import TensorSpec
from trainbox_sdk.sound_json import json_bytes

PLATFORM = "onnxruntime_onnx"
PAGE = 500
OCTETS = "application/octet-stream"
EXTENSIONS = ["binary_tensor_data", "model_repository"]


class Handlers:
    """Handlers of ``/v2``."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def live(self, request: web.Request) -> web.StreamResponse:
        """``GET /v2/health/live``: the process answers."""
        del request
        return _json({"live": True})

    async def ready(self, request: web.Request) -> web.StreamResponse:
        """``GET /v2/health/ready``: 200 once inferences can be answered, 503 until then."""
        del request
        readiness = await self._engine.readiness()
        return _json({"ready": readiness.ready}, status=200 if readiness.ready else 503)

    async def server(self, request: web.Request) -> web.StreamResponse:
        """``GET /v2``: who this is, and what of the protocol's extensions it speaks."""
        await self._who(request)
        version = metadata.version("trainbox")
        return _json({"name": "trainbox", "version": version, "extensions": EXTENSIONS})

    async def model(self, request: web.Request) -> web.StreamResponse:
        """``GET /v2/models/{model}``: what a model takes and gives."""
        who = await self._who(request)
        served = await self._engine.served_model(who, reference(request))
        document: wire.ModelOut = {
            "name": served.model.name,
            "versions": [str(served.model.version)],
            "platform": PLATFORM,
            "inputs": [_spec(each) for each in served.inputs],
            "outputs": [_spec(each) for each in served.outputs],
        }
        return _json(document)

    async def model_ready(self, request: web.Request) -> web.StreamResponse:
        """``GET …/ready``: 200 with a worker that has the model loaded; 503 if none can."""
        who = await self._who(request)
        served = await self._engine.served_model(who, reference(request))
        return _json({"name": served.model.name, "ready": True})

    async def infer(self, request: web.Request) -> web.StreamResponse:
        """``POST …/infer``: tensors in, tensors out. The content type is not looked at."""
        who = await self._who(request)
        _require_predict(who)
        header = request.headers.get(binary.HEADER)
        body = await request.read()
        asked, written = binary.read_request(reference(request), body, header)
        result = await self._engine.infer(who, asked)
        answer, length = binary.write_answer(result, written, binary.wants_binary(written, result))
        if length is None:
            return web.Response(body=answer, content_type="application/json")
        return web.Response(body=answer, content_type=OCTETS, headers={binary.HEADER: str(length)})

    async def index(self, request: web.Request) -> web.StreamResponse:
        """``POST /v2/repository/index``: every model version the caller may see."""
        who = await self._who(request)
        body = await request.read()
        if body.strip():
            binary.parse(wire.IndexIn, body)
        lines: list[wire.IndexOut] = []
        after: str | None = None
        while True:
            page = await self._engine.models(who, ModelFilter(limit=PAGE, after=after))
            lines += [
                {"name": m.name, "version": str(m.version), "state": "READY", "reason": ""}
                for m in page.items
            ]
            after = page.next
            if after is None:
                return _json(lines)

    async def _who(self, request: web.Request) -> Principal:
        return await self._engine.authenticate(bearer(request))


def _require_predict(who: Principal) -> None:
    """Refuse a token that may not predict before a body of megabytes is looked at.

    Raises:
        Forbidden: naming the scope.
    """
    if not {"predict", "admin"} & set(who.scopes):
        raise Forbidden(
            f"token {who.name!r} lacks the scope 'predict'",
            code="missing_scope",
            hint="use a token that has it",
        )


def bearer(request: web.BaseRequest) -> str:
    """Return the token of a request (RFC 6750, in the header only).

    Raises:
        Unauthenticated: no header, several, another scheme, or an empty token.
    """
    given = request.headers.getall(hdrs.AUTHORIZATION, [])
    if not given:
        raise Unauthenticated(
            "this request carries no token",
            code="missing_token",
            hint="send the header 'Authorization: Bearer <token>'",
        )
    scheme, _, token = given[0].strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("the Authorization header is not 'Bearer <token>'")
    return token.strip()


def reference(request: web.BaseRequest) -> str:
    """Return which model a path means: ``name``, ``name@alias``, and a version or alias apart.

    Raises:
        ValidationFailed: an alias in the name and a version beside it.
    """
    match: dict[str, str] = request.match_info  # type: ignore[attr-defined]
    model, version = match["model"], match.get("version")
    if version is None:
        return model
    if "@" in model:
        raise ValidationFailed(f"{model!r} names an alias already; leave out /versions/{version}")
    whole = version.isascii() and version.isdigit()
    return f"{model}:{version}" if whole else f"{model}@{version}"


def _spec(spec: TensorSpec) -> wire.SpecOut:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(status=status, body=json_bytes(document), content_type="application/json")
