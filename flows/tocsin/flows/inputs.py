"""What a paused run waits for: a type becomes a JSON schema, and what a person gives is checked against it.

Whoever resumes a run does not have its code, only the schema that is stored with the pause. So pydantic checks against
a type that is built from the schema; the run itself then reads the input as the type that its author wrote.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Final, Literal, Union
from uuid import UUID

from tocsin.events.errors import Invalid

# Any below: types, JSON schemas and JSON.
Schema = Mapping[str, Any]

_FORMATS: Final[Mapping[str, Any]] = {
    "date-time": datetime,
    "date": date,
    "time": time,
    "duration": timedelta,
    "uuid": UUID,
}
_PLAIN: Final[Mapping[str, Any]] = {"integer": int, "number": float, "boolean": bool, "null": None}
_BOUNDS: Final = {
    "minimum": "ge",
    "maximum": "le",
    "exclusiveMinimum": "gt",
    "exclusiveMaximum": "lt",
    "multipleOf": "multiple_of",
    "minLength": "min_length",
    "maxLength": "max_length",
    "minItems": "min_length",
    "maxItems": "max_length",
    "pattern": "pattern",
}
DEEPEST: Final = 20
"""How far a schema that refers to itself is followed; what lies deeper only the run checks."""


def schema_of(wanted: Any) -> dict[str, Any]:
    """The JSON schema of a pydantic model, or of any type that pydantic knows. Raises Invalid for one it does not."""
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticUserError

    try:
        return TypeAdapter(wanted).json_schema()
    except PydanticUserError as error:
        raise Invalid(f"wait_for_input={wanted!r}: give a pydantic model or a plain type: {error.message}") from error


def read_input(wanted: Any, given: Any, owner: str) -> Any:
    """The JSON that a person gave, as the type that the flow asked for. Raises Invalid naming each field."""
    from pydantic import TypeAdapter

    return _checked(TypeAdapter(wanted), given, owner)


def check_input(schema: Schema, given: Any, owner: str) -> None:
    """Raises Invalid, naming each field, when the JSON `given` is not what the schema describes."""
    from pydantic import ConfigDict, TypeAdapter

    kind = _Reader(schema).type_of(schema, 0)
    # Patterns are written for Python; a model brings its own configuration.
    config = None if hasattr(kind, "model_fields") else ConfigDict(regex_engine="python-re")
    _checked(TypeAdapter(kind, config=config), given, owner)


def _checked(adapter: Any, given: Any, owner: str) -> Any:
    from pydantic import ValidationError

    try:
        return adapter.validate_json(json.dumps(given))
    except ValidationError as error:
        raise Invalid(f"{owner}: " + "; ".join(map(_complaint, error.errors(include_url=False)))) from error
    except (TypeError, ValueError) as error:
        raise Invalid(f"{owner}: the input must be JSON: {error}") from error


def _complaint(problem: Mapping[str, Any]) -> str:
    place = ".".join(map(str, problem["loc"]))
    got = "" if problem["type"] == "missing" else f" (got {problem['input']!r:.80})"
    return f"{f'input {place!r}' if place else 'input'}: {problem['msg']}{got}"


class _Reader:
    """Builds types from one schema and its definitions."""

    def __init__(self, schema: Schema) -> None:
        self._definitions = schema.get("$defs", {})

    def type_of(self, schema: Schema, depth: int) -> Any:
        """The type whose values the schema describes."""
        if depth > DEEPEST or not isinstance(schema, Mapping):
            return Any
        if "$ref" in schema:
            return self.type_of(self._definitions.get(schema["$ref"].rpartition("/")[2], {}), depth + 1)
        if "const" in schema or "enum" in schema:
            values = tuple(schema.get("enum", (schema.get("const"),)))
            return Literal[values] if all(isinstance(each, str | int | None) for each in values) else Any
        for choice in ("anyOf", "oneOf"):
            if choice in schema:
                return Union[tuple(self.type_of(each, depth + 1) for each in schema[choice])]  # noqa: UP007 - made here
        if len(both := schema.get("allOf", ())) == 1:
            return self.type_of(both[0], depth + 1)
        return self._bounded(schema, self._of_kind(schema, schema.get("type"), depth))

    def _of_kind(self, schema: Schema, kind: Any, depth: int) -> Any:
        match kind:
            case "string":
                return _FORMATS.get(schema.get("format", ""), str)
            case "array":
                return self._array(schema, depth)
            case "object":
                return self._object(schema, depth)
            case str():
                return _PLAIN.get(kind, Any)
            case list():
                return Union[tuple(self._of_kind(schema, each, depth) for each in kind)]  # noqa: UP007 - made here
            case _:
                return Any

    def _array(self, schema: Schema, depth: int) -> Any:
        if "prefixItems" in schema:
            entries: Sequence[Schema] = schema["prefixItems"]
            return tuple[tuple(self.type_of(each, depth + 1) for each in entries)]  # type: ignore[misc]  # made here
        return list[self.type_of(schema.get("items", {}), depth + 1)]  # type: ignore[misc]  # made here

    def _object(self, schema: Schema, depth: int) -> Any:
        from pydantic import ConfigDict, Field, create_model

        if "properties" not in schema:
            return dict[str, self.type_of(schema.get("additionalProperties", {}), depth + 1)]  # type: ignore[misc]  # made here
        required = frozenset(schema.get("required", ()))
        fields: dict[str, Any] = {
            f"p{index}": (self.type_of(each, depth + 1), Field(alias=name, default=... if name in required else None))
            for index, (name, each) in enumerate(schema["properties"].items())
        }
        extra: Literal["forbid", "ignore"] = "forbid" if schema.get("additionalProperties") is False else "ignore"
        return create_model("Input", __config__=ConfigDict(extra=extra, regex_engine="python-re"), **fields)

    @staticmethod
    def _bounded(schema: Schema, kind: Any) -> Any:
        from pydantic import Field

        bounds = {ours: schema[theirs] for theirs, ours in _BOUNDS.items() if theirs in schema}
        takes = kind in (str, int, float) or schema.get("type") == "array"
        return Annotated[kind, Field(**bounds)] if bounds and takes and "prefixItems" not in schema else kind
