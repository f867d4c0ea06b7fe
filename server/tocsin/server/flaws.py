"""What is wrong with a definition that stands in a document, in words that name the line, the field and the way out."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any, Final, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tocsin.automations.yamltext import Lines, Path
from tocsin.events.errors import Invalid

# Any, in this file: what a document holds, before it is checked.

NO_LINES: Final = Lines({}, 0)


def refusal(error: ValidationError, document: Any, source: str, lines: Lines, kind: type[BaseModel]) -> Invalid:
    """`hooks.yaml: hook "shop": line 4, mapping.evnt: unknown field; did you mean event?`, for each flaw."""
    name = f' "{document["name"]}"' if isinstance(document, dict) and isinstance(document.get("name"), str) else ""
    known = sorted(set(_fields(kind, set())))
    told = (_told(flaw, document, lines, known) for flaw in error.errors(include_url=False, include_input=False))
    return Invalid(f"{source}: {_noun(kind)}{name}: {'; '.join(dict.fromkeys(told))}")


def each_once(named: Iterable[tuple[str, Lines]], source: str, kind: type[BaseModel]) -> None:
    """Raises Invalid with both lines for two definitions of one name: only one of them would be heard of."""
    first: dict[str, Lines] = {}
    for name, lines in named:
        if (before := first.setdefault(name, lines)) is not lines:
            raise Invalid(
                f'{source}: {_noun(kind)} "{name}" is defined twice, on line {before.first} and on line {lines.first}; '
                "give each a name of its own"
            )


def _noun(kind: type[BaseModel]) -> str:
    return kind.__name__.removeprefix("Kafka").lower()


def _told(flaw: ErrorDetails, document: Any, lines: Lines, known: list[str]) -> str:
    path = _path(flaw, document)
    where = [f"line {lines.of(path)}"] if lines.first else []
    if path:
        where.append(".".join(map(str, path)))
    return ", ".join(where) + (": " if where else "") + _said(flaw, known)


def _path(flaw: ErrorDetails, document: Any) -> Path:
    """Pydantic's location without the names of union members, which no document has."""
    path: Path = ()
    here = document
    for part in flaw["loc"]:
        match here:
            case dict() if part in here:
                here, path = here[part], (*path, part)
            case list() if isinstance(part, int) and part < len(here):
                here, path = here[part], (*path, part)
    return (*path, flaw["loc"][-1]) if flaw["type"] == "missing" else path


def _said(flaw: ErrorDetails, known: list[str]) -> str:
    context: dict[str, Any] = flaw.get("ctx", {})
    match flaw["type"]:
        case "extra_forbidden":
            near = get_close_matches(str(flaw["loc"][-1]), known, n=1)
            return "unknown field" + (f"; did you mean {near[0]}?" if near else "")
        case "missing":
            return "is missing"
        case "union_tag_invalid":
            return f"unknown kind {context['tag']!r}; known: {str(context['expected_tags']).replace(chr(39), '')}"
        case _:
            return flaw["msg"].removeprefix("Value error, ")


def _fields(annotation: Any, seen: set[type[BaseModel]]) -> Iterator[str]:
    """The names of all fields that a value of this type may have, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation not in seen:
            seen.add(annotation)
            for name, field in annotation.model_fields.items():
                yield name
                yield from _fields(field.annotation, seen)
        return
    for part in get_args(annotation):
        yield from _fields(part, seen)
