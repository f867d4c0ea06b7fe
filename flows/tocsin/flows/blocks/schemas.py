"""The JSON schema of a class of blocks: for show, never for reading what is stored."""

from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind

from tocsin.flows.portable import portable

_DEEPEST = 32


class _Quiet(GenerateJsonSchema):
    """Leaves out a default that JSON has no form for, without a word."""

    def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
        """Say nothing."""


def schema_of(model: type[BaseModel]) -> dict[str, Any]:  # Any: a JSON schema
    """The schema of a model's fields; the bare names of a model that has none."""
    try:
        made = model.model_json_schema(schema_generator=_Quiet)
    except PydanticUserError:  # a field of a type that JSON schemas do not know
        made = {"type": "object", "properties": {name: {} for name in model.model_fields}}
    shown: dict[str, Any] = portable(made, _DEEPEST)
    return shown
