"""Incidents and explanations as lines for people."""

from collections.abc import Iterator, Mapping, Sequence

from tocsin.notifiers.coming import Coming
from tocsin.notifiers.explained import Alerted, Explained, Visited
from tocsin.notifiers.knows import Knows, Sent, Tried
from tocsin.server.cli import explaining
from tocsin.server.cli.out import cell
from tocsin.server.oncall_explain import Heard, Paged
from tocsin.server.oncall_views import IncidentDetail


def of_incident(found: IncidentDetail) -> Iterator[str]:
    """An incident with all that belongs to it."""
    yield f"{found.severity}: {found.subject}"
    yield f"  {found.answer}"
    yield f"  incident {found.id}, {found.state}{_way(found.route, found.grouped)}, opened {cell(found.opened)}"
    if found.acked_by:
        until = f" until {cell(found.ack_until)}" if found.ack_until else ""
        yield f"  acknowledged by {found.acked_by}{until}"
    yield from _block(f"alerts: {_counted(found.counts)}", [*map(_alert, found.alerts), *_left(found)])
    yield from _block("who knows", [_knows(one) for one in found.people])
    yield from _block("what happened", [f"{cell(one.at)}  {one.what}" for one in found.timeline])
    yield from _block("what comes next", _coming(found.next))
    yield from _block("notes", found.notes)


def of_explanation(found: Paged) -> Iterator[str]:
    """An explanation: the answer first, then what it rests on."""
    yield found.answer
    if found.event is not None:
        yield _heard(found.event)
    for one in found.automations:
        yield from (f"  {line}" for line in explaining.lines(one))
    for other in found.unmatched:
        yield f"  {other.automation}: {other.why}"
    if found.more:
        yield f"  and {found.more} more automations that it does not concern"
    for incident in found.incidents:
        yield from _incident(incident)


def _incident(found: Explained) -> Iterator[str]:
    yield f"incident {found.incident}, {found.state}{_way(found.route, found.group)}: {found.answer}"
    yield f"  alerts: {_counted(found.counts)}"
    for alert in found.alerts:
        yield f"    {_alert(alert)}"
        yield from (f"      {line}" for line in map(_visited, alert.route))
    yield from (f"    {line}" for line in _left(found))
    if found.suppressed:
        yield f"  nothing is said of it: {found.suppressed}"
    yield from (f"  {receiver}: the storm {storm} speaks for it" for receiver, storm in found.storms.items())
    yield from _block("who knows", [_knows(one) for one in found.people], "  ")
    for sent in found.deliveries:
        yield from (f"  {line}" for line in _sent(sent))
    yield from _block("what comes next", _coming(found.next), "  ")
    yield from (f"  note: {note}" for note in found.notes)


def _block(title: str, lines: Sequence[str], indent: str = "") -> Iterator[str]:
    if lines:
        yield f"{indent}{title}"
        yield from (f"{indent}  {line}" for line in lines)


def _heard(event: Heard) -> str:
    return (
        f"event {event.event} of {event.resource}, {cell(event.occurred)}, received {cell(event.received)}, {event.id}"
    )


def _way(route: str, group: Mapping[str, str]) -> str:
    labels = ", ".join(f"{name}={value}" for name, value in sorted(group.items()))
    return f", route {route}{f' ({labels})' if labels else ''}" if route else ""


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in counts.items()) or "none"


def _left(found: IncidentDetail | Explained) -> Iterator[str]:
    """How many alerts are not listed."""
    if (left := sum(found.counts.values()) - len(found.alerts)) > 0:
        yield f"and {left:,} more"


def _alert(one: Alerted) -> str:
    quiet = f"; {one.quiet}" if one.quiet else ""
    return f"{cell(one.since)}  {one.status} {one.severity}: {one.subject}{quiet}"


def _visited(one: Visited) -> str:
    asked = "; ".join(f"{'ok' if each.held else 'no'} {each.matcher} saw {each.saw!r}" for each in one.asked)
    return f"{one.path} {one.came_of_it}{f': {asked}' if asked else ''}"


def _knows(one: Knows) -> str:
    return f"{one.receiver}: {one.told}, {one.why}"


def _sent(one: Sent) -> Iterator[str]:
    because = f": {one.reason}" if one.reason else ""
    yield f"{one.receiver}: {one.action}, revision {one.revision}, {one.state}{because}, delivery {one.id}"
    yield from (f"  {tried(attempt)}" for attempt in one.attempts)


def tried(one: Tried) -> str:
    """An attempt on one line."""
    status = f", HTTP {one.status}" if one.status else ""
    waited = f", waited {one.waited_ms} ms" if one.waited_ms else ""
    return f"{cell(one.at)}  {one.outcome}{status}, {one.took_ms} ms{waited}{f': {one.reason}' if one.reason else ''}"


def _coming(comings: Sequence[Coming]) -> list[str]:
    return [f"{cell(one.at)}  {one.what}" for one in comings]
