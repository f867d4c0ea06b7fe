"""Routes, mute windows, inhibitions and silences as the API and the command line see them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel
from sqlmodel import Session

from tocsin.automations.references import references
from tocsin.automations.routing import Routing, read_file, read_routing, routing_in
from tocsin.automations.store import list_automations
from tocsin.events.errors import Invalid
from tocsin.notifiers import inhibitions, routes, silences
from tocsin.notifiers.alertmanager import export_alertmanager
from tocsin.notifiers.inhibition import Inhibition
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.node import Node
from tocsin.notifiers.route import Route, group_of, nodes
from tocsin.notifiers.routes import Change, Listed
from tocsin.notifiers.routing_tables import SilenceRow
from tocsin.notifiers.silences import Preview
from tocsin.notifiers.suppression import muted, suppressed
from tocsin.notifiers.worlds import load_world
from tocsin.server.definitions import module_at, module_named

KINDS: Final = ("mute window", "route", "inhibition")


class DefinitionView(BaseModel):
    """A route, a mute window or an inhibition on record, as it was written."""

    kind: str
    name: str
    definition: dict[str, Any]  # Any: JSON
    updated: datetime


class AppliedView(BaseModel):
    """What came of putting one definition on record."""

    kind: str
    name: str
    change: Change


class WayView(BaseModel):
    """Where an alert goes: a node of a route, whom it tells and when, and why nothing would be said at the moment."""

    path: str
    receivers: list[str]
    group: dict[str, str]
    group_wait_s: float
    group_interval_s: float
    repeat_interval_s: float | None
    escalation: list[str]
    quiet: str


class SilenceView(BaseModel):
    """A silence: what it keeps quiet, and from when until when."""

    id: UUID
    state: str
    matchers: str
    starts: datetime
    ends: datetime
    author: str
    comment: str
    created: datetime
    expired: datetime | None


class PreviewView(BaseModel):
    """What a silence would keep quiet now, and what it would have kept quiet in the last 24 hours.

    `complete` is false when there were more alerts than are looked at: then the numbers are the least there are.
    """

    matchers: str
    firing: int
    incidents: int
    past: int
    examples: list[str]
    complete: bool


def routing_of(target: str) -> Routing:
    """What a `.yaml`, `.json` or `.py` file, or a module, says of routing. Raises `Invalid` with the place."""
    path = Path(target)
    match path.suffix:
        case ".yaml" | ".yml" | ".json":
            found = read_routing(read_file(path), target)
        case ".py":
            found = routing_in(_public(module_at(path)), target)
        case _:
            found = routing_in(_public(module_named(target)), target)
    if not found:
        raise Invalid(f"{target}: no route in it; make one with Route(name=..., receivers=...)")
    return found


def apply(session: Session, found: Routing, now: datetime) -> list[AppliedView]:
    """Put windows, then routes, then inhibitions on record. Raises `Invalid`."""
    rows = [("mute window", one.name, routes.put_window(session, one, now)) for one in found.mute_windows]
    rows += [("route", route.name, routes.put_route(session, route, now)) for route in found.routes]
    rows += [("inhibition", one.name, inhibitions.put_inhibition(session, one, now)) for one in found.inhibitions]
    return [AppliedView(kind=kind, name=name, change=change) for kind, name, change in rows]


def named_by(session: Session, route: str) -> list[str]:
    """The automations that tell people by this route: without it, what they fire is told to nobody."""
    listed = (one.automation for one in list_automations(session))
    return [one.name for one in listed if any((at.kind, at.name) == ("route", route) for at in references(one))]


def definitions(session: Session) -> list[DefinitionView]:
    """All routes, mute windows and inhibitions."""
    lists = (routes.list_windows(session), routes.list_routes(session), inhibitions.list_inhibitions(session))
    return [definition_view(kind, one) for kind, several in zip(KINDS, lists, strict=True) for one in several]


def definition_view(kind: str, listed: Listed) -> DefinitionView:
    """One definition as it is shown."""
    return DefinitionView(kind=kind, name=listed.name, definition=listed.definition, updated=listed.updated)


def ways(session: Session, labels: Mapping[str, str], route: str | None, now: datetime) -> list[WayView]:
    """Where an alert with these labels goes by a route (None: by each on record). Raises `NotFound`."""
    names = [route] if route is not None else [listed.name for listed in routes.list_routes(session)]
    reason = suppressed(labels, load_world(session, now), now)
    return [
        _way(node, labels, reason.text if reason else "", now)
        for name in names
        for node in nodes(routes.get_tree(session, name), labels)
    ]


def labels_in(texts: Sequence[str]) -> dict[str, str]:
    """Labels from `name=value`, alone or several with commas between. Raises `Invalid`."""
    found = [matcher for text in texts for matcher in read_matchers(text)]
    for matcher in found:
        if matcher.op != "=":
            raise Invalid(f"{matcher}: a label is name=value; matchers stand in routes")
    return {matcher.name: matcher.value for matcher in found}


def export(session: Session, names: Sequence[str]) -> str:
    """The routes of these names (none: all) in Alertmanager's words. Raises `NotFound`."""
    known = [Route.model_validate(listed.definition) for listed in routes.list_routes(session)]
    chosen = [routes.get_route(session, name) for name in names] if names else known
    rules = [Inhibition.model_validate(listed.definition) for listed in inhibitions.list_inhibitions(session)]
    return export_alertmanager(chosen, routes.windows(session), rules)


def silence_view(row: SilenceRow, now: datetime) -> SilenceView:
    """A silence as it is shown."""
    told = ", ".join(map(str, silences.silence_of(row).matchers))
    fields = row.model_dump(exclude={"matchers"})
    return SilenceView(**fields, matchers=told, state=silences.state_of(row, now))


def get_silence(session: Session, id: UUID, now: datetime) -> SilenceView:  # noqa: A002 - it is the row's id
    """The silence of this id, which is on record."""
    return silence_view(session.get_one(SilenceRow, id), now)


def preview_view(matchers: str, found: Preview) -> PreviewView:
    """A preview as it is shown."""
    return PreviewView(
        matchers=matchers,
        firing=found.firing,
        incidents=found.incidents,
        past=found.past,
        examples=list(found.examples),
        complete=found.complete,
    )


def aware(instant: datetime | None, name: str) -> datetime | None:
    """The instant in UTC. Raises `Invalid` for one without a zone."""
    if instant is not None and instant.tzinfo is None:
        raise Invalid(f"{name}: {instant.isoformat()} has no time zone; write Z or an offset")
    return instant and instant.astimezone(UTC)


def _way(node: Node, labels: Mapping[str, str], quiet: str, now: datetime) -> WayView:
    mute = muted(node, now)
    return WayView(
        path=node.path,
        receivers=list(node.receivers),
        group=group_of(node, labels),
        group_wait_s=node.group_wait_s,
        group_interval_s=node.group_interval_s,
        repeat_interval_s=node.repeat_interval_s,
        escalation=[f"after {after:g} s: {', '.join(receivers)}" for after, receivers in node.escalation],
        quiet=quiet or (mute.text if mute else ""),
    )


def _public(module: Any) -> list[Any]:  # Any: a module, and whatever it names
    return [value for name, value in vars(module).items() if not name.startswith("_")]
