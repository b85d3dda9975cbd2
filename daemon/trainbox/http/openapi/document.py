"""Build the OpenAPI document from route tables: nothing in it is written twice.

The form is OpenAPI 3.1.1, whose schemas are JSON Schema 2020-12, which is what pydantic gives.
"""

from __future__ import annotations

import http
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from trainbox.http.openapi.schemas import Mode, Schemas
from trainbox_sdk.operations import Content, Header, Operation, Reply, SecurityScheme
from trainbox_sdk.surfaces import Route

Object = dict[str, Any]

SAFE = frozenset({"GET", "HEAD"})
GUARDS = frozenset({400, 403, 421, 429, 500, 503})
"""What the HTTP layer itself may answer to any request: see :mod:`trainbox.http.guards`."""
BODY_GUARDS = frozenset({408, 413})
NO_BODY = frozenset({204, 205, 304})
RETRYABLE = frozenset({429, 503})

DESCRIPTION = (
    "Train on your own machines: data in, sandboxed training, one self-contained ONNX file out, "
    "predictions back. Every GET answers HEAD too; a method that a path lacks is 405 with Allow. "
    "Every answer carries X-Request-ID."
)

_VARIABLE = re.compile(r"\{([^{}:]+)(?::[^{}]*)?\}")


class InvalidOperation(ValueError):
    """An operation says what cannot be; the message names its route and the reason."""


@dataclass(frozen=True)
class Group:
    """The routes of one owner: a surface, or the daemon itself.

    Attributes:
        name: of the surface.
        security: how callers show who they are; None where nobody is asked.
        problem: the error body.
        problems: error statuses of an operation, beside the guards'.
    """

    name: str
    routes: Sequence[Route]
    security: SecurityScheme | None
    problem: Content
    problems: Callable[[Operation], frozenset[int]]


def build_document(groups: Sequence[Group]) -> Object:
    """Return the document of every route that has an operation.

    Raises:
        InvalidOperation: an operation id comes twice, or an operation contradicts its route.
    """
    listed = check_operations(groups)
    schemas = Schemas([operation for *_, operation in listed], [one.problem for one in groups])
    paths: Object = {}
    answers: Object = {}
    for group, route, operation in listed:
        path = _VARIABLE.sub(r"{\1}", route.path)
        statuses = error_statuses(group, route, operation)
        for status in statuses:
            answers[_answer_name(group, status)] = _problem(group, status, schemas)
        one = _operation(group, route, operation, schemas)
        paths.setdefault(path, {})[route.method.lower()] = one
    return {
        "openapi": "3.1.1",
        "info": {"title": "trainbox", "version": version("trainbox"), "description": DESCRIPTION},
        "tags": [{"name": tag} for tag in dict.fromkeys(one.tag for *_, one in listed)],
        "paths": paths,
        "components": {
            "schemas": schemas.reachable(paths, answers),
            "responses": dict(sorted(answers.items())),
            "securitySchemes": {
                group.security.name: dict(group.security.definition)
                for group in groups
                if group.security is not None
            },
        },
    }


def check_operations(groups: Sequence[Group]) -> list[tuple[Group, Route, Operation]]:
    """Return every route that has an operation, once none contradicts another or its route.

    Raises:
        InvalidOperation: an operation id comes twice, or an operation says what cannot be.
    """
    listed = [
        (group, route, route.operation)
        for group in groups
        for route in group.routes
        if route.operation is not None
    ]
    seen: dict[str, str] = {}
    for _, route, operation in listed:
        where = f"{route.method} {route.path}"
        if operation.id in seen:
            raise InvalidOperation(f"{where} and {seen[operation.id]} are both {operation.id!r}")
        seen[operation.id] = where
        if wrong := next(_contradictions(route, operation), ""):
            raise InvalidOperation(f"{where} ({operation.id}): {wrong}")
    return listed


def error_statuses(group: Group, route: Route, operation: Operation) -> list[int]:
    """Return every error status of a route, in order."""
    own = {*operation.problems, *group.problems(operation), *GUARDS}
    if _takes_body(route, operation):
        own |= BODY_GUARDS
    return sorted(own - set(operation.replies))


def _takes_body(route: Route, operation: Operation) -> bool:
    """Whether a body is read at all; the gate reads what clients send with any POST."""
    return bool(operation.body) or route.method not in SAFE


def _operation(group: Group, route: Route, operation: Operation, schemas: Schemas) -> Object:
    made: Object = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "responses": {},
    }
    if operation.description:
        made["description"] = operation.description
    if operation.deprecated:
        made["deprecated"] = True
    if parameters := list(_parameters(route, operation, schemas)):
        made["parameters"] = parameters
    if operation.body:
        content = _contents(operation.body, schemas, inbound=True)
        made["requestBody"] = {"content": content, "required": operation.body_required}
    for status, reply in operation.replies.items():
        made["responses"][str(status)] = _reply(route, status, reply, schemas)
    for status in error_statuses(group, route, operation):
        reference = {"$ref": f"#/components/responses/{_answer_name(group, status)}"}
        bare = {"description": http.HTTPStatus(status).phrase}
        made["responses"][str(status)] = bare if route.method == "HEAD" else reference
    if operation.scope is not None and group.security is not None:
        made["security"] = [{group.security.name: []}]
        made["x-scope"] = operation.scope
    return made


def _parameters(route: Route, operation: Operation, schemas: Schemas) -> Iterator[Object]:
    for name in _VARIABLE.findall(route.path):
        type_ = operation.path.get(name)
        schema = {"type": "string", "minLength": 1}
        if type_ is not None:
            schema = schemas.of(type_, "validation")
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    if operation.query is not None:
        yield from _query(schemas.resolved(operation.query, "validation"))
    for header in operation.headers:
        yield _header(header, schemas)


def _query(model: Object) -> Iterator[Object]:
    for name, given in model.get("properties", {}).items():
        schema = dict(given)
        parameter: Object = {"name": name, "in": "query"}
        if name in model.get("required", ()):
            parameter["required"] = True
        if description := schema.pop("description", ""):
            parameter["description"] = description
        if schema.get("type") == "array":
            parameter |= {"style": "form", "explode": False}
        parameter["schema"] = _without_null(schema)
        yield parameter


def _without_null(schema: Object) -> Object:
    """Drop the null of an optional field: a query string leaves a name out instead."""
    if schema.get("default", ...) is None:
        schema.pop("default")
    arms = [arm for arm in schema.get("anyOf", ()) if arm != {"type": "null"}]
    if not arms or len(arms) == len(schema["anyOf"]):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**rest, **arms[0]} if len(arms) == 1 else {**rest, "anyOf": arms}


def _header(header: Header, schemas: Schemas) -> Object:
    return {
        "name": header.name,
        "in": "header",
        "description": header.description,
        "required": header.required,
        "schema": schemas.of(header.type, "validation"),
    }


def _reply(route: Route, status: int, reply: Reply, schemas: Schemas) -> Object:
    made: Object = {"description": reply.description}
    if reply.headers:
        made["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in reply.headers.items()
        }
    if reply.content and route.method != "HEAD" and status not in NO_BODY:
        made["content"] = _contents(reply.content, schemas, inbound=False)
    return made


def _problem(group: Group, status: int, schemas: Schemas) -> Object:
    made: Object = {
        "description": http.HTTPStatus(status).phrase,
        "content": _contents((group.problem,), schemas, inbound=False),
    }
    if status == http.HTTPStatus.UNAUTHORIZED and group.security is not None:
        made["headers"] = {"WWW-Authenticate": _text_header("What is asked for.")}
    if status in RETRYABLE:
        made["headers"] = {"Retry-After": _text_header("Seconds to wait.")}
    return made


def _text_header(description: str) -> Object:
    return {"description": description, "schema": {"type": "string"}}


def _contents(contents: Sequence[Content], schemas: Schemas, *, inbound: bool) -> Object:
    made: Object = {}
    for content in contents:
        if content.type is None:
            made[content.media_type] = {}
        else:
            mode: Mode = "validation" if inbound else "serialization"
            made[content.media_type] = {"schema": schemas.of(content.type, mode)}
    return made


def _answer_name(group: Group, status: int) -> str:
    return f"{group.name}-{status}"


def _contradictions(route: Route, operation: Operation) -> Iterator[str]:
    """Yield what an operation says that its route can never do."""
    variables = set(_VARIABLE.findall(route.path))
    if unknown := set(operation.path) - variables:
        yield f"path types for {sorted(unknown)}, which the path lacks"
    if operation.body and route.method in SAFE:
        yield "a body on a method that has none"
    if not any(status < http.HTTPStatus.BAD_REQUEST for status in operation.replies):
        yield "no reply for success"
    for status in operation.problems:
        if status < http.HTTPStatus.BAD_REQUEST:
            yield f"problem {status} is no error"
    stated = {*operation.problems, *operation.replies}
    if strange := stated - set(http.HTTPStatus):
        yield f"statuses {sorted(strange)} do not exist"
    if stated & {408, 413, 415} and not _takes_body(route, operation):
        yield "408, 413 and 415 are about a body, and it takes none"
    if stated & {206, 304, 416} and route.method not in SAFE:
        yield "206, 304 and 416 are answers to reading"
