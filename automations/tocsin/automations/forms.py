"""Definitions as the plain values that people write: spans in seconds, lists and objects, secrets behind a mask."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import Any

from pydantic import BaseModel, SecretStr
from pydantic_core import to_jsonable_python

from tocsin.automations.secrets import MASK

# Any, in this file: fields of definitions, and JSON.
Shown = Callable[[SecretStr], Any]
"""What stands for a secret."""


def masked(secret: SecretStr) -> str:
    """The mask; an empty secret stays empty."""
    return MASK if secret.get_secret_value() else ""


def written(definition: BaseModel, secret: Shown = masked) -> dict[str, Any]:
    """The definition as a person would write it: fields that say the default are left out."""
    return {name: plain(value, secret) for name, value in telling(definition)}


def whole(definition: BaseModel, secret: Shown = masked) -> dict[str, Any]:
    """The definition with every field, for comparing."""
    return {name: _whole(getattr(definition, name), secret) for name in type(definition).model_fields}


def telling(definition: BaseModel) -> Iterator[tuple[str, Any]]:
    """The fields that say more than the default, with their values; `type`, which tells the kind, is always one."""
    for name, field in type(definition).model_fields.items():
        value = getattr(definition, name)
        if name == "type" or field.is_required() or value != field.get_default(call_default_factory=True):
            yield name, value


def seconds(span: timedelta) -> int | float:
    """The span as a number of seconds, whole where it is."""
    number = span.total_seconds()
    return int(number) if number.is_integer() else number


def plain(value: Any, secret: Shown = masked) -> Any:
    """A field's value as JSON; models in it say only what differs from their defaults."""
    return _plain(value, secret, written)


def _whole(value: Any, secret: Shown) -> Any:
    return _plain(value, secret, whole)


def _plain(value: Any, secret: Shown, model: Callable[[BaseModel, Shown], Any]) -> Any:
    match value:
        case BaseModel():
            return model(value, secret)
        case SecretStr():
            return secret(value)
        case timedelta():
            return seconds(value)
        case Mapping():
            return {str(name): _plain(one, secret, model) for name, one in value.items()}
        case list() | tuple():
            return [_plain(one, secret, model) for one in value]
        case set() | frozenset():
            return sorted(_plain(one, secret, model) for one in value)
        case _:
            return to_jsonable_python(value)
