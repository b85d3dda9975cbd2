"""What a route takes and gives, said once: the source of the OpenAPI document.

A surface declares an :class:`Operation` beside each handler; types are whatever pydantic can read
(models, typed dictionaries, annotated scalars), so the document and the check are one thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

JSON = "application/json"


@dataclass(frozen=True)
class Content:
    """One representation of a body.

    Attributes:
        type: what pydantic can make a JSON Schema of; None for bytes of that media type.
    """

    type: Any = None
    media_type: str = JSON


@dataclass(frozen=True)
class Reply:
    """One status a route answers with.

    Attributes:
        content: its representations; empty for an answer without a body.
        headers: name and one sentence of each header that matters.
    """

    description: str
    content: tuple[Content, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Header:
    """One request header a route reads."""

    name: str
    description: str
    type: Any = str
    required: bool = False


@dataclass(frozen=True)
class SecurityScheme:
    """How a caller of a surface shows who it is.

    Attributes:
        name: key in the document, unique over the daemon.
        definition: the OpenAPI security scheme object, such as
            ``{"type": "http", "scheme": "bearer"}``.
    """

    name: str
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class Operation:
    """One method and path as a caller sees it.

    Attributes:
        id: unique over the daemon, in camelCase: what generated clients call the method.
        tag: the section it is listed under.
        replies: by status; problems that any route may answer are added by the surface.
        problems: further statuses answered with the surface's own error body.
        scope: what the token must have; None where no token is asked for.
        query: model of the query string.
        path: types of the path's variables that are more than any text.
        body: representations it accepts; empty where it takes none.
    """

    id: str
    tag: str
    summary: str
    replies: Mapping[int, Reply]
    problems: tuple[int, ...] = ()
    scope: str | None = None
    query: type[BaseModel] | None = None
    path: Mapping[str, Any] = field(default_factory=dict)
    headers: tuple[Header, ...] = ()
    body: tuple[Content, ...] = ()
    body_required: bool = True
    description: str = ""
    deprecated: bool = False
