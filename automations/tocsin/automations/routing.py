"""Routes, mute windows and inhibitions as documents: YAML or JSON files, Python files and modules.

A document holds a route, a list of them, or an object with `routes:`, `mute_windows:` and `inhibitions:`. Errors name
file, line and field.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from tocsin.automations.findings import findings
from tocsin.automations.yamltext import Document, Lines, read_json, read_yaml
from tocsin.events.errors import Invalid
from tocsin.notifiers.inhibition import Inhibition
from tocsin.notifiers.route import Escalate, Flap, Route, check_root
from tocsin.notifiers.windows import MuteWindow

# Any, in this file: what a document holds, before it is checked.

KINDS: Final[Mapping[str, type[Any]]] = {
    "routes": Route,
    "mute_windows": MuteWindow,
    "inhibitions": Inhibition,
}
"""The members of a document, and what they hold lists of."""

_WORDS: Final[Mapping[type[BaseModel], str]] = {Route: "route", MuteWindow: "mute window", Inhibition: "inhibition"}
_FIELDS: Final = sorted(
    {
        field.alias or name
        for model in (Route, Escalate, Flap, MuteWindow, Inhibition)
        for name, field in model.model_fields.items()
    }
    | {"receiver"}
)

T = TypeVar("T", Route, MuteWindow, Inhibition)


@dataclass(frozen=True)
class Routing:
    """What a file or module says of routing and suppression."""

    mute_windows: tuple[MuteWindow, ...] = ()
    routes: tuple[Route, ...] = ()
    inhibitions: tuple[Inhibition, ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


def routing_in(values: Iterable[Any], target: str) -> Routing:
    """What a module defines, of the `values` that it names at its top level, alone or in lists.

    A route that stands within another one is a part of it. Raises `Invalid` for two of one name that differ, and for
    what is no root.
    """
    flat = [item for value in values for item in (value if isinstance(value, list | tuple) else [value])]
    routes = [item for item in flat if isinstance(item, Route) and item.name]
    parts = [part for route in flat if isinstance(route, Route) for part in _below(route)]
    roots = _each_once((route for route in routes if route not in parts), target)
    for root in roots:
        _checked_root(root, target)
    return Routing(
        mute_windows=_each_once((item for item in flat if isinstance(item, MuteWindow)), target),
        routes=roots,
        inhibitions=_each_once((item for item in flat if isinstance(item, Inhibition)), target),
    )


def read_routing(text: str, source: str) -> Routing:
    """What a document's text says; `source` names it in errors (`….json`: read as JSON). Raises `Invalid`."""
    documents = read_json(text, source) if source.endswith(".json") else read_yaml(text, source)
    found = [(key, _made(KINDS[key], value, source, lines)) for key, value, lines in _each(documents, source)]
    members = {key: _each_once((one for kind, one in found if kind == key), source) for key in KINDS}
    return Routing(**members)


def route_from(value: Any) -> Route:
    """The root route that a JSON object describes. Raises `Invalid` with the field."""
    return _made(Route, value, "definition", Lines({}, 0))


def window_from(value: Any) -> MuteWindow:
    """The mute window that a JSON object describes. Raises `Invalid` with the field."""
    return _made(MuteWindow, value, "definition", Lines({}, 0))


def inhibition_from(value: Any) -> Inhibition:
    """The inhibition that a JSON object describes. Raises `Invalid` with the field."""
    return _made(Inhibition, value, "definition", Lines({}, 0))


def together(found: Iterable[tuple[str, Routing]]) -> Routing:
    """What several files, by their names, say together. Raises `Invalid` for a name that two of them define."""
    several = list(found)
    for key, model in KINDS.items():
        homes: dict[str, str] = {}
        for target, one in several:
            for item in getattr(one, key):
                if homes.setdefault(item.name, target) != target:
                    both = f"in {homes[item.name]} and in {target}"
                    raise Invalid(f'{_WORDS[model]} "{item.name}" is defined twice, {both}')
    return Routing(**{key: tuple(item for _, one in several for item in getattr(one, key)) for key in KINDS})


def is_routing(value: Any) -> bool:
    """Whether a document is an object with members of routing."""
    return isinstance(value, dict) and bool(value) and value.keys() <= KINDS.keys()


def _each(documents: Iterable[Document], source: str) -> Iterator[tuple[str, Any, Lines]]:
    for value, lines in documents:
        match value:
            case None:
                continue
            case dict() if is_routing(value):
                for key, items in value.items():
                    if not isinstance(items, list):
                        raise Invalid(f"{source}, line {lines.of((key,))}, {key}: a list is needed")
                    yield from ((key, item, lines.below((key, place))) for place, item in enumerate(items))
            case list(items):
                yield from (("routes", item, lines.below((place,))) for place, item in enumerate(items))
            case dict():
                yield "routes", value, lines
            case _:
                raise Invalid(f"{source}, line {lines.first}: expected a route, a list of them, or {', '.join(KINDS)}")


def _made(model: type[T], value: Any, source: str, lines: Lines) -> T:
    try:
        made = model.model_validate(value)
    except ValidationError as error:
        name = f' "{value["name"]}"' if isinstance(value, dict) and isinstance(value.get("name"), str) else ""
        raise Invalid(f"{source}: {_WORDS[model]}{name}: {findings(error, lines, _FIELDS)}") from error
    if isinstance(made, Route):
        _checked_root(made, f"{source}, line {lines.first}" if lines.first else source)
    return made


def _checked_root(route: Route, where: str) -> None:
    try:
        check_root(route)
    except Invalid as error:
        raise Invalid(f"{where}: {error}") from error


def _below(route: Route) -> Iterator[Route]:
    for child in route.routes:
        yield child
        yield from _below(child)


def _each_once(items: Iterable[T], target: str) -> tuple[T, ...]:
    found: dict[str, T] = {}
    for item in items:
        if found.setdefault(item.name, item) != item:
            raise Invalid(f'{target}: two different {_WORDS[type(item)]}s are named "{item.name}"')
    return tuple(found.values())


def read_file(path: Path) -> str:
    """The text of a file. Raises `Invalid`."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: not UTF-8 text") from error
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
