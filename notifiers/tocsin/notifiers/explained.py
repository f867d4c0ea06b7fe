"""Why somebody was told of an incident, or was not: the whole of it as a value, from what is on record. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal
from uuid import UUID

from tocsin.notifiers.case import Case
from tocsin.notifiers.coming import Coming, coming
from tocsin.notifiers.knows import Knows, Sent, answer, knowing
from tocsin.notifiers.matchers import Matcher, matches_value
from tocsin.notifiers.node import DIRECT, STORM, Node
from tocsin.notifiers.route import Tree
from tocsin.notifiers.suppression import World, muted, suppressed

Taken = Literal["takes it", "hands it down", "does not fit"]


@dataclass(frozen=True)
class Asked:
    """A matcher, and what it saw."""

    matcher: str
    saw: str
    held: bool


@dataclass(frozen=True)
class Visited:
    """A node that an alert came to, with what it asked."""

    path: str
    came_of_it: Taken
    asked: tuple[Asked, ...] = ()


@dataclass(frozen=True)
class Alerted:
    """An alert of the incident: `route` are the nodes that it came to, `quiet` why nothing is said of it now."""

    subject: str
    status: str
    severity: str
    source: str
    since: datetime
    event_id: UUID
    labels: dict[str, str]
    route: tuple[Visited, ...] = ()
    quiet: str | None = None


@dataclass(frozen=True)
class Facts:
    """What is on record of an incident, and what holds at the moment.

    `tree` is its route as it is today (None: there is none any more, or it never took one), `alerts` are the newest,
    `counts` how many there are of each status, `storms` which incidents speak for it to whom, `waits` which receivers
    asked to be left alone until when.
    """

    id: UUID
    case: Case
    node: Node
    grouped: dict[str, str]
    alerts: Sequence[Alerted]
    counts: Mapping[str, int]
    sent: Sequence[Sent]
    storms: Mapping[str, str] = field(default_factory=dict)
    waits: Mapping[str, datetime] = field(default_factory=dict)
    tree: Tree | None = None
    world: World = field(default_factory=World)


@dataclass(frozen=True)
class Explained:
    """The answer in a sentence, and what it rests on. `suppressed`: why nothing is said of it now, until when.

    `notes` say where the answer may not be the whole truth.
    """

    incident: UUID
    answer: str
    state: str
    route: str
    group: dict[str, str]
    alerts: list[Alerted]
    counts: dict[str, int]
    suppressed: str | None
    suppressed_until: datetime | None
    storms: dict[str, str]
    people: list[Knows]
    deliveries: list[Sent]
    next: list[Coming]
    notes: list[str]


def explain(facts: Facts, now: datetime) -> Explained:
    """Who was told of the incident and who was not, and why."""
    case, node = facts.case, facts.node
    people = knowing(case, node, facts.sent, facts.storms)
    return Explained(
        incident=facts.id,
        answer=answer(case, people, facts.storms),
        state=case.state,
        route=node.path,
        group=facts.grouped,
        alerts=(alerts := [_alerted(one, facts, now) for one in facts.alerts]),
        counts=dict(facts.counts),
        suppressed=case.suppressed,
        suppressed_until=case.muted_until if case.suppressed else None,
        storms=dict(facts.storms),
        people=people,
        deliveries=list(facts.sent),
        next=coming(case, node, facts.sent, facts.waits),
        notes=[*_notes(facts, now), *_hushed(case, alerts)],
    )


def visits(tree: Tree, labels: Mapping[str, str]) -> list[Visited]:
    """The nodes that an alert with these labels comes to, in the order of the tree, with the values that each saw."""
    below: list[Visited] = []
    fitted = False
    for child in tree.below:
        if not (fits := all(one.held for one in asked(child.asks, labels))):
            below.append(Visited(child.node.path, "does not fit", asked(child.asks, labels)))
            continue
        fitted = fits
        below += visits(child, labels)
        if not child.goes_on:
            break
    return [Visited(tree.node.path, "hands it down" if fitted else "takes it", asked(tree.asks, labels)), *below]


def asked(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> tuple[Asked, ...]:
    """Each matcher held against the labels."""
    found = ((one, labels.get(one.name, "")) for one in matchers)
    return tuple(Asked(str(one), value, matches_value(one, value)) for one, value in found)


def route_name(path: str) -> str:
    """The name of the route that a node's path begins with; "" where no route was taken."""
    return "" if path in (DIRECT, STORM) else path.partition("/")[0]


def _alerted(one: Alerted, facts: Facts, now: datetime) -> Alerted:
    reason = suppressed(one.labels, facts.world, now)
    way = tuple(visits(facts.tree, one.labels)) if facts.tree else ()
    return replace(one, route=way, quiet=reason.text if reason else None)


def _notes(facts: Facts, now: datetime) -> Iterator[str]:
    node = facts.node
    if node.path == STORM:
        yield "it is a storm: it speaks for other incidents, which are its alerts"
    elif node.path == DIRECT:
        yield "no route was taken: the automation names the notifier"
    elif facts.tree is None:
        yield f'the route "{route_name(node.path)}" is no longer there; the incident goes on by the policy it had'
    elif facts.alerts and not any(one.path == node.path for one in _taking(facts)):
        yield f'by today\'s route no alert of it comes to "{node.path}": the route, or the labels, were others then'
    if reason := muted(node, now):
        yield f"its route is {reason.text}"


def _hushed(case: Case, alerts: Sequence[Alerted]) -> Iterator[str]:
    """That nothing of what comes next will be said, where the incident has not met its silence yet."""
    firing = [one for one in alerts if one.status == "firing"]
    if case.state not in ("open", "acknowledged") or case.suppressed or not firing or len(firing) < case.firing:
        return
    if all(one.quiet for one in firing):
        yield f"nothing of what comes next is said while it lasts: {firing[0].quiet}"


def _taking(facts: Facts) -> Iterator[Visited]:
    assert facts.tree is not None
    for one in facts.alerts:
        yield from (visited for visited in visits(facts.tree, one.labels) if visited.came_of_it == "takes it")
