"""The document as one page of plain HTML: no script, so nothing to load, to trust or to update."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

STYLE = files(__package__).joinpath("static", "docs.css")

_BOUNDS = {
    "minimum": "≥ {}",
    "exclusiveMinimum": "> {}",
    "maximum": "≤ {}",
    "exclusiveMaximum": "< {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "maxProperties": "at most {} members",
    "pattern": "matches {}",
    "format": "{}",
}
_CODE = re.compile(r"``(.+?)``", re.DOTALL)
_UNSTATED = {("minLength", 1), ("minLength", 0)}
"""Bounds that are too plain to be worth a line."""


def page(document: Mapping[str, Any]) -> str:
    """Return the page of an OpenAPI document."""
    environment = Environment(
        loader=PackageLoader("trainbox.http.openapi"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["reference"] = lambda value: "$ref" in value
    environment.filters |= {"bounds": bounds, "name": _name, "words": words}
    template = environment.get_template("docs.html")
    return template.render(
        info=document["info"],
        sections=_sections(document),
        schemas=document["components"]["schemas"],
        answers=document["components"]["responses"],
    )


def bounds(schema: Mapping[str, Any]) -> list[str]:
    """Return a schema's constraints in words."""
    found = [
        text.format(schema[key])
        for key, text in _BOUNDS.items()
        if key in schema and (key, schema[key]) not in _UNSTATED
    ]
    if "default" in schema and schema["default"] not in (None, "", [], {}):
        found.append(f"default {schema['default']}".lower())
    return found


def words(text: str) -> Markup:
    """Return prose as HTML: what stands between double back quotes is code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped first


def _sections(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    sections: dict[str, list[dict[str, Any]]] = {tag["name"]: [] for tag in document["tags"]}
    for operation in _operations(document):
        sections[operation["tags"][0]].append(operation)
    return sections


def _operations(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield {"method": method.upper(), "path": path, **operation}


def _name(reference: str) -> str:
    """Return the last part of a reference."""
    return reference.rpartition("/")[2]
