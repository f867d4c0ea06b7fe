"""Automations as Python: the calls that make them, and the imports that these need."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from enum import Enum
from typing import Any, Final

from pydantic import BaseModel, SecretStr

from tocsin.automations.forms import masked, plain, seconds, telling
from tocsin.automations.model import Automation

# Any, in this file: fields of definitions.

_WIDTH: Final = 120
_STEP: Final = "    "


def python_text(automations: Sequence[Automation]) -> str:
    """A module whose `automations` are these; what says the default is left out, secrets are masked."""
    body = _source([*automations], "")
    imports = "".join(f"{line}\n" for line in _imports(automations))
    return f"{imports}\nautomations = {body}\n"


def _imports(automations: Sequence[Automation]) -> Iterator[str]:
    found = set(_names(automations))
    if ("datetime", "timedelta") in found:
        yield "from datetime import timedelta\n"
    rooms = sorted({room for room, _ in found} - {"datetime"})
    for room in rooms:
        yield f"from {room} import {', '.join(sorted(name for home, name in found if home == room))}"


def _names(value: Any) -> Iterator[tuple[str, str]]:
    """From where each name comes that the source of `value` uses: the room where it is public, else its module."""
    match value:
        case BaseModel():
            module = type(value).__module__
            room = ".".join(module.split(".")[:2])
            public = type(value).__name__ in getattr(sys.modules.get(room), "__all__", ())
            yield room if public else module, type(value).__name__
            for _, inner in _fields(value):
                yield from _names(inner)
        case timedelta():
            yield "datetime", "timedelta"
        case Mapping():
            for inner in value.values():
                yield from _names(inner)
        case list() | tuple():
            for inner in value:
                yield from _names(inner)


def _fields(value: BaseModel) -> Iterator[tuple[str, Any]]:
    return ((name, inner) for name, inner in telling(value) if name != "type")


def _source(value: Any, indent: str) -> str:
    """The expression that makes `value`; on one line when it fits."""
    inner = indent + _STEP
    match value:
        case BaseModel():
            parts = [f"{name}={_source(one, inner)}" for name, one in _fields(value)]
            return _joined(f"{type(value).__name__}(", parts, ")", indent)
        case timedelta():
            return f"timedelta(seconds={seconds(value)!r})"
        case SecretStr():
            return _quoted(masked(value))
        case Enum():
            return _source(value.value, indent)
        case str():
            return _quoted(value)
        case Mapping():
            parts = [f"{_quoted(str(name))}: {_source(one, inner)}" for name, one in value.items()]
            return _joined("{", parts, "}", indent)
        case list() | tuple():
            return _joined("[", [_source(one, inner) for one in value], "]", indent)
        case _:
            return repr(plain(value))


def _joined(opening: str, parts: Sequence[str], closing: str, indent: str) -> str:
    line = f"{opening}{', '.join(parts)}{closing}"
    if len(indent) + len(line) <= _WIDTH and "\n" not in line:
        return line
    rows = "".join(f"{indent}{_STEP}{part},\n" for part in parts)
    return f"{opening}\n{rows}{indent}{closing}"


def _quoted(text: str) -> str:
    """The text as Python, in double quotes where that takes no escapes."""
    source = repr(text)
    return f'"{source[1:-1]}"' if source[0] == "'" and '"' not in text else source
