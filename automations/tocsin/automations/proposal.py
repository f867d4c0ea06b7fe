"""What an apply of a file would do: nothing is written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel
from sqlmodel import Session

from tocsin.automations import store
from tocsin.automations.diffs import Difference, differences
from tocsin.automations.documents import Loaded
from tocsin.automations.model import Automation
from tocsin.automations.references import Names, missing, on_record, with_names
from tocsin.automations.store import Change, Foreseen
from tocsin.automations.yamltext import Lines
from tocsin.events.errors import NotFound
from tocsin.notifiers.blocks import AnyBlock
from tocsin.notifiers.inhibitions import list_inhibitions
from tocsin.notifiers.registry import is_on_record
from tocsin.notifiers.routes import list_routes, list_windows, written


@dataclass(frozen=True)
class Planned:
    """What would happen to one definition, field by field; `warnings` name what it needs and nobody has."""

    kind: Literal["notifier", "mute window", "route", "inhibition", "automation"]
    name: str
    change: Change
    differences: Sequence[Difference] = ()
    warnings: Sequence[str] = ()


def propose(session: Session, found: Loaded) -> list[Planned]:
    """What `apply` would do with what a file defines, in the order in which it would. Raises `Invalid` as it would."""
    names = _names(session, found)
    notifiers = [Planned("notifier", block.name, _notifier_change(session, block)) for block in found.notifiers]
    return [
        *notifiers,
        *_routing(session, found),
        *(_planned(one, found, names) for one in store.foresee(session, found.automations)),
    ]


def warnings_of(session: Session, found: Loaded) -> list[str]:
    """What the automations of a file name and nobody has, each with its automation."""
    names = _names(session, found)
    return [
        f'automation "{one.name}": {warning}' for one in found.automations for warning in _warnings(one, found, names)
    ]


def _routing(session: Session, found: Loaded) -> Iterator[Planned]:
    routing = found.routing
    known = [
        {one.name: one.definition for one in read(session)} for read in (list_windows, list_routes, list_inhibitions)
    ]
    for window in routing.mute_windows:
        yield Planned("mute window", window.name, _change(known[0].get(window.name), window))
    for route in routing.routes:
        yield Planned("route", route.name, _change(known[1].get(route.name), route))
    for inhibition in routing.inhibitions:
        yield Planned("inhibition", inhibition.name, _change(known[2].get(inhibition.name), inhibition))


def _change(stored: object, given: BaseModel) -> Change:
    if stored is None:
        return "created"
    return "unchanged" if stored == written(given) else "updated"


def _planned(foreseen: Foreseen, found: Loaded, names: Names) -> Planned:
    given, stored = foreseen.given, foreseen.stored
    changed = differences(stored, given) if stored is not None and foreseen.change == "updated" else ()
    return Planned("automation", given.name, foreseen.change, changed, _warnings(given, found, names))


def _names(session: Session, found: Loaded) -> Names:
    """All names on record, and those that come in the file."""
    names = with_names(on_record(session), "notifier", (block.name for block in found.notifiers))
    names = with_names(names, "route", (route.name for route in found.routing.routes))
    return with_names(names, "automation", (one.name for one in found.automations))


def _warnings(automation: Automation, found: Loaded, names: Names) -> tuple[str, ...]:
    lines = found.lines.get(automation.name)
    return tuple(f"{_where(lines, reference.path)}: {said}" for reference, said in missing(automation, names))


def _where(lines: Lines | None, path: tuple[str | int, ...]) -> str:
    return ", ".join(_place(lines, path))


def _place(lines: Lines | None, path: tuple[str | int, ...]) -> Iterator[str]:
    if lines is not None and lines.first:
        yield f"line {lines.of(path)}"
    yield ".".join(map(str, path))


def _notifier_change(session: Session, block: AnyBlock) -> Change:
    try:
        return "unchanged" if is_on_record(session, block) else "updated"
    except NotFound:
        return "created"
