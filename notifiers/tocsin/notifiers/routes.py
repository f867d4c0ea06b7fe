"""Routes, mute windows and inhibitions on record: put, get, list, remove; and the trees made of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from typing import Any, Final, Literal, TypeVar

from pydantic import BaseModel
from sqlmodel import Session, col, select

from tocsin.events.errors import Invalid, NotFound
from tocsin.notifiers.route import Route, Tree, grow, receivers_of, walk
from tocsin.notifiers.routing_tables import MuteWindowRow, RouteRow
from tocsin.notifiers.stamps import changed, kept
from tocsin.notifiers.tables import NotifierRow
from tocsin.notifiers.windows import MuteWindow

Change = Literal["created", "updated", "unchanged"]
Row = TypeVar("Row", RouteRow, MuteWindowRow)

_TREES: Final = "trees"


@dataclass(frozen=True, slots=True)
class Listed:
    """A definition on record."""

    name: str
    definition: dict[str, Any]  # Any: JSON
    updated: datetime


def put_route(session: Session, route: Route, now: datetime) -> Change:
    """Store a tree under the name of its root; what came of it.

    Raises `Invalid` for what is no root, a mute window or a notifier that nobody knows, with those that are known.
    """
    tree = grow(route, windows(session))
    _check_receivers(session, tree)
    return _put(session, RouteRow, route.name, written(route), now)


def put_window(session: Session, window: MuteWindow, now: datetime) -> Change:
    """Store a mute window under its name; routes that name it go by it from now on."""
    return _put(session, MuteWindowRow, window.name, written(window), now)


def get_route(session: Session, name: str) -> Route:
    """The route of this name, as it was written. Raises `NotFound` naming the known ones."""
    row = session.get(RouteRow, name)
    if row is None:
        raise NotFound(unknown_route(session, name))
    return Route.model_validate(row.definition)


def get_tree(session: Session, name: str) -> Tree:
    """The tree of this name, made ready: `tocsin.notifiers.route.nodes` finds an alert's nodes in it.

    Kept until a route or a window changes. Raises `NotFound`.
    """
    tree = kept(session, _TREES, _trees).get(name)
    if tree is None:
        raise NotFound(unknown_route(session, name))
    return tree


def list_routes(session: Session) -> list[Listed]:
    """All routes by name."""
    rows = session.exec(select(RouteRow).order_by(col(RouteRow.name))).all()
    return [Listed(row.name, row.definition, row.updated) for row in rows]


def list_windows(session: Session) -> list[Listed]:
    """All mute windows by name."""
    rows = session.exec(select(MuteWindowRow).order_by(col(MuteWindowRow.name))).all()
    return [Listed(row.name, row.definition, row.updated) for row in rows]


def remove_route(session: Session, name: str) -> None:
    """Forget a route. Its incidents go on by the policy they have; what names it from now on is refused.

    Raises `NotFound`.
    """
    row = session.get(RouteRow, name)
    if row is None:
        raise NotFound(unknown_route(session, name))
    session.delete(row)
    session.flush()
    changed(session)


def remove_window(session: Session, name: str) -> None:
    """Forget a mute window. Raises `NotFound`, and `Invalid` while a route names it."""
    row = session.get(MuteWindowRow, name)
    if row is None:
        raise NotFound(f'unknown mute window "{name}"; known: {", ".join(sorted(windows(session))) or "none"}')
    others = {known: window for known, window in windows(session).items() if known != name}
    for listed in list_routes(session):
        try:
            grow(Route.model_validate(listed.definition), others)
        except Invalid as error:
            raise Invalid(f'mute window "{name}": route "{listed.name}" goes by it; change that one first') from error
    session.delete(row)
    session.flush()
    changed(session)


def windows(session: Session) -> dict[str, MuteWindow]:
    """The mute windows on record, by name."""
    rows = session.exec(select(MuteWindowRow)).all()
    return {row.name: MuteWindow.model_validate(row.definition) for row in rows}


def written(definition: BaseModel) -> dict[str, Any]:  # Any: JSON
    """A definition as JSON: what people said, and nothing else."""
    return definition.model_dump(mode="json", by_alias=True, exclude_unset=True)


def unknown_route(session: Session, name: str) -> str:
    """The message for a route that nobody has: `unknown route "oncal"; did you mean oncall? known: oncall, web`."""
    known = list(session.exec(select(RouteRow.name).order_by(col(RouteRow.name))).all())
    return f'unknown route "{name}"{near(name, known)}; known: {", ".join(known) or "none"}'


def near(name: str, known: Iterable[str]) -> str:
    """`; did you mean slack?`, or nothing when no known name is near."""
    found = get_close_matches(name, list(known), n=1)
    return f"; did you mean {found[0]}?" if found else ""


def _trees(session: Session) -> Mapping[str, Tree]:
    known = windows(session)
    rows = session.exec(select(RouteRow)).all()
    return {row.name: grow(Route.model_validate(row.definition), known) for row in rows}


def _check_receivers(session: Session, tree: Tree) -> None:
    known = list(session.exec(select(NotifierRow.name).order_by(col(NotifierRow.name))).all())
    missing: dict[str, str] = {}
    for part in walk(tree):
        for name in receivers_of(Tree(part.node)):
            if name not in known:
                missing.setdefault(name, part.node.path)
    if missing:
        each = [f'route "{path}": unknown notifier "{name}"{near(name, known)}' for name, path in missing.items()]
        raise Invalid(f"{'; '.join(each)}; known: {', '.join(known) or 'none'}")


def _put(session: Session, table: type[Row], name: str, document: dict[str, Any], now: datetime) -> Change:
    row = session.get(table, name)
    if row is not None and row.definition == document:
        return "unchanged"
    change: Change = "created" if row is None else "updated"
    if row is None:
        row = table(name=name, definition=document, updated=now)
    row.definition, row.updated = document, now
    session.add(row)
    session.flush()
    changed(session)
    return change
