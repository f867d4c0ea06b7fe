"""What automations name: notifiers, routes, deployments, work pools, other automations; and which of it is not there.

Definitions may come in any order, so a name that nobody has is a warning and no error.
"""

from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Final

from sqlmodel import Session, col, select

from tocsin.automations.findings import nearest
from tocsin.automations.model import Automation
from tocsin.automations.tables import StoredAutomation
from tocsin.flows.tables import DeploymentRow, WorkPool
from tocsin.notifiers.routing_tables import RouteRow
from tocsin.notifiers.tables import NotifierRow
from tocsin.triggers.tables import Schedule

Names = Mapping[str, Set[str]]
"""The names on record, by what they are."""

_SOURCES: Final = {
    "notifier": col(NotifierRow.name),
    "route": col(RouteRow.name),
    "deployment": col(DeploymentRow.name),
    "work_pool": col(WorkPool.name),
    "schedule": col(Schedule.slug),
    "automation": col(StoredAutomation.name),
}
_LISTS: Final = ("actions", "actions_on_trigger", "actions_on_resolve")
_QUEUE: Final = "work_queue"
_TEMPLATE: Final = "{{"


@dataclass(frozen=True)
class Reference:
    """A name in an action: what it is, and its path in the document."""

    kind: str
    name: str
    path: tuple[str | int, ...]


def references(automation: Automation) -> Iterator[Reference]:
    """The names that its actions give; one that a template makes is not known before it fires."""
    for field in _LISTS:
        for index, action in enumerate(getattr(automation, field)):
            for kind in _SOURCES:
                name = getattr(action, kind, None)
                if isinstance(name, str) and _TEMPLATE not in name:
                    yield Reference(kind, name, (field, index, kind))
            queue = getattr(action, _QUEUE, None)
            if isinstance(queue, str) and _TEMPLATE not in queue:  # `pool/queue`; a queue is made when it is used
                yield Reference("work_pool", queue.partition("/")[0], (field, index, _QUEUE))


def on_record(session: Session) -> dict[str, set[str]]:
    """Every name that an automation may use, by what it is."""
    return {kind: set(session.exec(select(column))) for kind, column in _SOURCES.items()}


def missing(automation: Automation, known: Names) -> Iterator[tuple[Reference, str]]:
    """The names that are not `known`, each with what to say: `unknown notifier "slak"; did you mean slack?`."""
    for reference in references(automation):
        there = known.get(reference.kind, frozenset())
        if reference.name not in there:
            said = reference.kind.replace("_", " ")
            yield (
                reference,
                f'unknown {said} "{reference.name}"{nearest(reference.name, sorted(there)) or _known(there)}',
            )


def with_names(known: Names, kind: str, names: Iterable[str]) -> dict[str, Set[str]]:
    """`known` and some more of one kind: those that come in the same file."""
    return {**known, kind: known.get(kind, frozenset()) | set(names)}


def _known(names: Set[str]) -> str:
    shown = sorted(names)[:10]
    return f"; known: {', '.join(shown) or 'none'}{' …' if len(names) > len(shown) else ''}"
