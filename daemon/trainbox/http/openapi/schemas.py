"""JSON Schemas of everything that operations name, gathered once so that they share components."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from trainbox_sdk.operations import Content, Operation

REF_TEMPLATE = "#/components/schemas/{model}"

Mode = Literal["validation", "serialization"]
Key = tuple[int, Mode]
"""A type by identity, and which way it travels: defaults make a field optional only inbound."""


class _Untitled(GenerateJsonSchema):
    """Leaves out titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: object) -> bool:
        """Return False, always."""
        del schema
        return False


class Schemas:
    """Schemas by type and direction; the ones with a name are references to components.

    Args:
        operations: of every route.
        problems: the error bodies of their surfaces.
    """

    def __init__(self, operations: Sequence[Operation], problems: Sequence[Content]) -> None:
        types: dict[Key, Any] = {}
        for type_, mode in _types(operations, problems):
            types.setdefault((id(type_), mode), type_)
        inputs = [(key, key[1], TypeAdapter(type_)) for key, type_ in types.items()]
        schemas, shared = TypeAdapter.json_schemas(
            inputs, ref_template=REF_TEMPLATE, schema_generator=_Untitled
        )
        self._kept = tuple(types.values())  # an id names a type only while the type is there
        self._schemas: dict[Key, JsonSchemaValue] = {key[0]: one for key, one in schemas.items()}
        self.components: dict[str, JsonSchemaValue] = dict(sorted(shared.get("$defs", {}).items()))

    def of(self, type_: Any, mode: Mode) -> JsonSchemaValue:
        """Return the schema of a type that one of the operations named."""
        return self._schemas[id(type_), mode]

    def resolved(self, type_: Any, mode: Mode) -> JsonSchemaValue:
        """Return the schema of a type itself, where :meth:`of` may be a reference to it."""
        schema = self.of(type_, mode)
        if "$ref" not in schema:
            return schema
        return self.components[schema["$ref"].rpartition("/")[2]]

    def reachable(self, *roots: object) -> dict[str, JsonSchemaValue]:
        """Return the components that the roots refer to, and those these refer to."""
        found: dict[str, JsonSchemaValue] = {}
        waiting: list[object] = list(roots)
        while waiting:
            for name in _references(waiting.pop()):
                if name in self.components and name not in found:
                    found[name] = self.components[name]
                    waiting.append(found[name])
        return dict(sorted(found.items()))


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield str(inner).rpartition("/")[2]
            else:
                yield from _references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner)


def _types(
    operations: Sequence[Operation], problems: Sequence[Content]
) -> Iterator[tuple[Any, Mode]]:
    for one in operations:
        inbound = [one.query, *one.path.values()]
        inbound += [header.type for header in one.headers]
        inbound += [content.type for content in one.body]
        yield from ((type_, "validation") for type_ in inbound if type_ is not None)
        for reply in one.replies.values():
            for content in reply.content:
                if content.type is not None:
                    yield content.type, "serialization"
    yield from ((each.type, "serialization") for each in problems if each.type is not None)
