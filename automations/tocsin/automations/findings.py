"""What is wrong with a definition, in words that name the field and the way out."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tocsin.automations.model import Automation
from tocsin.automations.yamltext import Lines, Path

_UNIONS: Final = ("trigger", "resolve_on")
"""Fields that hold one of several kinds; so does each place in a list of actions or of triggers."""

_PLAIN: Final = ("str", "int", "bool", "float", "none")


def findings(error: ValidationError, lines: Lines, fields: Sequence[str] | None = None) -> str:
    """All that `error` found, one after the other: `line 3, actions.0.notifier: Field required`.

    `fields` are the names that a definition of this kind may hold (default: those of automations).
    """
    told = (
        _finding(found, lines, _FIELDS if fields is None else fields) for found in error.errors(include_input=False)
    )
    return "; ".join(dict.fromkeys(told))


def _finding(found: ErrorDetails, lines: Lines, fields: Sequence[str]) -> str:
    path = field_path(found["loc"])
    return ", ".join(_where(path, lines)) + _said(found, fields, separator=": " if path or lines.first else "")


def field_path(location: Path) -> Path:
    """Where a finding stands in the document: pydantic's location without the names of union members.

    `("trigger", "compound", "triggers", 1, "event", "expect")` is `trigger.triggers.1.expect`.
    """
    path: Path = ()
    for place, part in enumerate(location):
        if not _names_member(part, path, behind=location[place - 1] if place else None):
            path = (*path, part)
    return path


def _names_member(part: str | int, before: Path, behind: str | int | None) -> bool:
    """Whether `part` is a name of pydantic's. `behind` is the part in front of it, `before` those that were kept."""
    if isinstance(part, int):
        return False
    if "[" in part or part in _PLAIN:
        return True
    chosen = bool(before) and behind == before[-1] and (isinstance(behind, int) or behind in _UNIONS)
    return chosen and part in _KINDS


def _where(path: Path, lines: Lines) -> Iterator[str]:
    if lines.first:
        yield f"line {lines.of(path)}"
    if path:
        yield ".".join(map(str, path))


def _said(found: ErrorDetails, fields: Sequence[str], separator: str) -> str:
    context: dict[str, Any] = found.get("ctx", {})  # Any: pydantic's own values
    match found["type"]:
        case "extra_forbidden":
            return separator + _unknown_field(str(found["loc"][-1]), fields)
        case "union_tag_invalid":
            known = [name.strip("' ") for name in str(context["expected_tags"]).split(",")]
            return f"{separator}unknown type {context['tag']!r}{nearest(str(context['tag']), known)}; known: " + (
                ", ".join(known)
            )
        case _:
            return separator + found["msg"].removeprefix("Value error, ")


def _unknown_field(name: str, fields: Sequence[str]) -> str:
    return "a field of another kind" if name in fields else "unknown field" + nearest(name, fields)


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean slack?`, or nothing when no known name is near."""
    found = get_close_matches(name, known, n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _models(annotation: Any, seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:  # Any: a type, in any form
    """Every model that a value of this type may hold, each once."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in seen:
            seen.add(annotation)
            yield annotation
            for field in annotation.model_fields.values():
                yield from _models(field.annotation, seen)
        return
    for part in get_args(annotation):
        yield from _models(part, seen)


def _kind(model: type[BaseModel]) -> str | None:
    kind = model.model_fields.get("type")
    return str(kind.default) if kind is not None else None


_MODELS: Final = tuple(_models(Automation, set()))
_FIELDS: Final = sorted({name for model in _MODELS for name in model.model_fields})
_KINDS: Final = frozenset(kind for model in _MODELS if (kind := _kind(model)))
