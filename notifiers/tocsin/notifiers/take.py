"""Alerts are taken: batches of them, in the caller's transaction, into the incidents of their groups.

```text
alerts ── place ──▶ groups ── open, lock ──▶ incidents ── fire, end ──▶ lines ── carry ──▶ deliveries, events
```

A resolve finds what it ends by fingerprint and source, whatever the routes are now. The same event again changes
nothing. Counters are kept under the incident's lock, so they are exact however many processes take alerts.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from msgspec.structs import replace
from sqlmodel import Session

from tocsin.events.errors import Unavailable
from tocsin.events.model import Event
from tocsin.notifiers import lines
from tocsin.notifiers.alert import Alert
from tocsin.notifiers.bounds import KEY_SHOWN, bounded
from tocsin.notifiers.case import LIVE, Moment
from tocsin.notifiers.episodes import carry, case_of, lock, put_down
from tocsin.notifiers.fit import clean, cut
from tocsin.notifiers.incident import higher
from tocsin.notifiers.inhibitions import Source, note_sources
from tocsin.notifiers.judging import Heard, ended, fired, is_late, reworded
from tocsin.notifiers.line import Line, Place
from tocsin.notifiers.node import DIRECT, Node, node_from_json, node_to_json
from tocsin.notifiers.opening import latest_of, live_of, open_new
from tocsin.notifiers.placing import Placer, Spot
from tocsin.notifiers.quiet import forget_world, free, note_ends, world_of_session
from tocsin.notifiers.redact import redacted_logger
from tocsin.notifiers.tables import Incident
from tocsin.notifiers.tally_figures import Figure
from tocsin.notifiers.view import Severity
from tocsin.notifiers.words import Speech, reword

TRIES: Final = 5
_LOG = redacted_logger("tocsin.notifiers.take")


def take(session: Session, alerts: Sequence[Alert], now: datetime) -> list[list[Incident]]:
    """Take the alerts; for each the incidents that it belongs to, or that it ended.

    Raises NotFound when one fires for an unknown notifier or route and Invalid for a severity that is none, before
    anything is written. Alerts of one identity are taken in their order.
    """
    cleaned = [bounded(alert) for alert in alerts]
    found: list[list[Incident]] = []
    echoes: list[Alert] = []
    while len(found) < len(cleaned):  # an incident that ends in the midst of a batch cuts it in two
        batch = _Batch(session, cleaned[len(found) :], now)
        found += batch.run()
        echoes += batch.echoes
    take_echoes(session, echoes, now)
    return found


def take_echoes(session: Session, echoes: Sequence[Alert], now: datetime) -> None:
    """Tell storms what they must hear: last in a transaction, when all other incidents are locked."""
    rest = list(echoes)
    while rest:
        rest = rest[len(_Batch(session, rest, now).run()) :]
    free(session, now)


class _Signal(NamedTuple):
    """An alert, its fingerprint, and the groups it belongs to."""

    alert: Alert
    print: UUID
    spots: list[Spot]

    @property
    def fires(self) -> bool:
        return self.alert.status == "firing"


class _Group:
    """An incident in this batch, and what has changed since it was last carried."""

    def __init__(self, incident: Incident) -> None:
        self.incident = incident
        self.node = node_from_json(incident.node)
        self.firing = incident.firing
        self.severity: Severity = "info"
        self.news = False
        self.changed = False
        self.to: list[str] = []
        self.joining: list[str] = []
        self.line: Line | None = None

    @property
    def direct(self) -> bool:
        return self.incident.route == DIRECT

    def adopt(self, node: Node) -> None:
        """Go by the route as it is now."""
        if node != self.node:
            self.node, self.incident.node = node, node_to_json(node)

    @property
    def alone(self) -> Line | None:
        """Its only line that fires, when that is known."""
        first = self.firing == 1 and self.line is not None and self.line.status == "firing"
        return self.line if self.direct or first else None

    def speech(self, session: Session, now: datetime) -> Speech:
        """Somebody to say something of it as it is."""
        return Speech(session, self.incident, case_of(self.incident), self.node, now)

    def moment(self, now: datetime) -> Moment:
        """What has come since, and nothing from here on."""
        moment = Moment(
            now=now,
            firing=self.firing,
            severity=self.severity,
            news=self.news,
            to=tuple(self.to),
            joining=tuple(self.joining),
        )
        self.news, self.changed, self.to, self.joining = False, False, [], []
        return moment


class _Batch:
    """The alerts of one transaction on their way."""

    def __init__(self, session: Session, alerts: Sequence[Alert], now: datetime) -> None:
        self._session, self._now = session, now
        placer = Placer(session)
        self._signals = [_Signal(alert, alert.fingerprint, placer.place(alert)) for alert in alerts]
        self._held = lines.held(session, {one.print for one in self._signals if one.alert.status == "resolved"})
        self._groups: dict[UUID, _Group] = {}
        self._by_key: dict[UUID, UUID] = {}
        self._late: dict[tuple[UUID, UUID], UUID] = {}
        self._lines: dict[Place, Line] = {}
        self._dirty: dict[Place, Line] = {}
        self._events: list[Event] = []
        self._figures: list[Figure] = []
        self.echoes: list[Alert] = []

    def run(self) -> list[list[Incident]]:
        """Everything up to an alert that fires when its incident has ended in this very batch."""
        with self._session.no_autoflush:
            found = self._run()
        put_down(self._session, self._events, self._figures)
        return found

    def _run(self) -> list[list[Incident]]:
        self._assemble()
        found: list[list[Incident]] = []
        for signal in self._signals:
            if signal.fires and any(self._has_ended(signal, spot) for spot in signal.spots):
                break
            found.append(self._take(signal))
        self._write()
        for group in sorted(self._groups.values(), key=lambda group: group.incident.id):
            if group.changed:
                self._carry(group)
        return found

    def _assemble(self) -> None:
        """Open what is new, lock what is concerned, read its lines."""
        placed = [(signal, spot) for signal in self._signals for spot in signal.spots]
        firing = [(signal, spot) for signal, spot in placed if signal.fires]
        over = {spot.key_id for signal, spot in placed if not signal.fires and spot.receiver}
        last = {key: row.id for key, row in latest_of(self._session, over).items()}
        ended = {(incident, fingerprint) for fingerprint, there in self._held.items() for incident, _ in there}
        for _ in range(TRIES):
            self._by_key = {**last, **self._find(firing)}
            late = {(incident, fingerprint) for (_, fingerprint), incident in self._late.items()}
            placing = {(self._by_key[s.key_id], signal.print) for signal, s in placed if s.key_id in self._by_key}
            places = ended | late | placing
            rows = lock(self._session, {incident for incident, _ in places})
            self._groups = {row.id: _Group(row) for row in rows.values()}
            if not any(self._has_ended(signal, spot) for signal, spot in firing):
                break
        else:
            raise Unavailable("others open and close the same incidents all the time; try again")
        self._lines = lines.read_lines(self._session, places)

    def _has_ended(self, signal: _Signal, spot: Spot) -> bool:
        """Whether the alert, which is not late, would come to an incident that is over, or that others were to open."""
        if self._late_of(signal, spot) is not None:
            return False
        group = self._groups.get(self._by_key[spot.key_id])
        return group is None or group.incident.state not in LIVE

    def _late_of(self, signal: _Signal, spot: Spot) -> UUID | None:
        """The incident for which the alert comes too late, unless its line has ended since in this batch."""
        late = self._late.get((spot.key_id, signal.print))
        line = None if late is None else self._lines.get((late, signal.print))
        return late if line is None or is_late(line, signal.alert) else None

    def _find(self, firing: Sequence[tuple[_Signal, Spot]]) -> dict[UUID, UUID]:
        """The incident of each group: the live one, or a new one unless its alerts all come too late for that."""
        keys = {spot.key_id for _, spot in firing}
        found = live_of(self._session, keys)
        latest = latest_of(self._session, keys - found.keys())
        last = {key: row.id for key, row in latest.items()}
        places = {(last[spot.key_id], signal.print) for signal, spot in firing if spot.key_id in last}
        known = lines.read_lines(self._session, places)
        had = {**last, **found}
        closed = lines.closed(self._session, {signal.print for signal, spot in firing if spot.key_id in had})
        new: dict[UUID, tuple[Spot, Alert]] = {}
        self._late = {}
        for signal, spot in firing:
            line = known.get((last[spot.key_id], signal.print)) if spot.key_id in last else None
            if line is not None and is_late(line, signal.alert):
                self._late[spot.key_id, signal.print] = last[spot.key_id]
            elif (before := closed.get((spot.key_id, signal.print, signal.alert.source))) is not None:
                self._late[spot.key_id, signal.print] = before
            elif spot.key_id not in found:
                new.setdefault(spot.key_id, (spot, signal.alert))
        return {**had, **open_new(self._session, new.values(), latest, self._now)}

    def _take(self, signal: _Signal) -> list[Incident]:
        if signal.fires:
            return [self._fire(signal, spot) for spot in signal.spots]
        there = dict.fromkeys(incident for incident, _ in self._held.get(signal.print, []))
        ended = [self._end(signal.alert, (incident, signal.print)) for incident in there]
        return [incident for incident in ended if incident is not None] or self._over_already(signal)

    def _fire(self, signal: _Signal, spot: Spot) -> Incident:
        alert, fingerprint, late = signal.alert, signal.print, self._late_of(signal, spot)
        group = self._groups[self._by_key[spot.key_id] if late is None else late]
        place = group.incident.id, fingerprint
        heard = fired(self._lines.get(place), alert, place, spot.receiver, group.node.receivers)
        if heard.late:
            if spot.receiver:
                group.speech(self._session, self._now).miss(spot.receiver)
            return group.incident
        joins = spot.receiver is not None and spot.receiver not in group.node.receivers
        group.adopt(group.node if spot.receiver and not joins else _joined(group.node, spot))
        if heard.news:
            group.incident.event_id = alert.event_id
            if group.direct:
                group.incident.subject, group.incident.labels = alert.subject, alert.labels
        self._note(group, alert, heard, spot.receiver)
        return group.incident

    def _end(self, alert: Alert, place: Place) -> Incident | None:
        group, line = self._groups[place[0]], self._lines.get(place)
        heard = ended(line, alert, direct=group.direct) if line is not None else Heard()
        if heard.line is None:
            return None
        group.incident.resolved_by = alert.event_id
        self._note(group, alert, heard, None)
        return group.incident

    def _note(self, group: _Group, alert: Alert, heard: Heard, receiver: str | None) -> None:
        """Keep what was heard; who waits for nothing is told at once, and so is a change between none and some."""
        if heard.line is not None:
            place = heard.line.incident_id, heard.line.fingerprint
            if heard.step > 0:
                self._held.setdefault(place[1], []).append((place[0], alert.source))
            self._lines[place] = self._dirty[place] = group.line = heard.line
        if not (heard.news or heard.joins or heard.step):
            return
        before, group.firing = group.firing, group.firing + heard.step
        group.changed, group.news = True, group.news or heard.news
        group.severity = higher(group.severity, alert.severity if heard.step >= 0 else group.severity)
        if receiver is not None:
            (group.to if heard.news else group.joining).append(receiver)
        turned = group.incident.state != "waiting" and (before == 0) != (group.firing == 0)
        if group.direct or turned:
            self._write()
            self._carry(group)

    def _over_already(self, signal: _Signal) -> list[Incident]:
        """A direct end of what is over: the same one for another receiver is still put into its own words."""
        alert = signal.alert
        for spot in signal.spots:
            group = self._groups.get(self._by_key.get(spot.key_id, spot.key_id))
            if spot.receiver is None or group is None or not group.incident.lasting:
                continue
            line = self._lines.get((group.incident.id, signal.print))
            if group.incident.resolved_by == alert.event_id and line is not None:
                self._lines[group.incident.id, signal.print] = reworded(line, alert)
                self._dirty[group.incident.id, signal.print] = reworded(line, alert)
                reword(self._session, group.incident.id, spot.receiver, alert.subject, alert.body)
            return [group.incident]
        _LOG.info("nothing is open under %s, so there is nothing to resolve", cut(clean(alert.identity), KEY_SHOWN))
        return []

    def _write(self) -> None:
        """Put the changed lines down, and which of them keep others quiet."""
        changed, self._dirty = list(self._dirty.values()), {}
        lines.write_lines(self._session, changed)
        if changed and (rules := world_of_session(self._session, self._now).rules):
            firing = (line for line in changed if line.status == "firing")
            note_sources(self._session, rules, (Source(x.incident_id, x.fingerprint, x.labels) for x in firing))
            forget_world(self._session)
            note_ends(self._session, (line for line in changed if line.status != "firing"), self._now)

    def _carry(self, group: _Group) -> None:
        carried = carry(self._session, group.incident, group.moment(self._now), group.alone)
        self._events += carried.events
        self._figures += carried.figures
        self.echoes += carried.echoes


def _joined(node: Node, spot: Spot) -> Node:
    """The node by which the incident goes from now on: the route's of today, or one receiver more."""
    return spot.node if spot.receiver is None else replace(node, receivers=(*node.receivers, spot.receiver))
