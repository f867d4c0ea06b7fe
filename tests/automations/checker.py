"""What should have been fired beside what was: lost, invented, duplicate, different, late, for each automation.

The events are read as they lie on the bus, each with when it was received; what should have been fired is what the
simulation makes of them. What was fired is the table. A firing that the clock alone causes is late when it was put on
record more than `LATE` after it was due, although a host was up.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import msgspec
from sqlmodel import Session, col, select

from tocsin.automations.evaluate import Decided
from tocsin.automations.model import Automation
from tocsin.automations.plan import plan
from tocsin.automations.simulation import Playing
from tocsin.automations.tables import StoredFiring, StoredInvocation, Tally
from tocsin.events import codec
from tocsin.events.clock import Micros, instant, micros
from tocsin.events.errors import BadEvent
from tocsin.events.model import Event
from tocsin.events.topics import EVENTS, EXTERNAL
from tocsin.store import positions
from tocsin.store.engine import Store
from tocsin.store.log import STREAM, ascending
from tocsin.store.tables import LogEntry
from tocsin.triggers.steps import Firing

LATE: Final = 100_000
SHOWN: Final = 5

Heard = Sequence[tuple[Event, Micros]]
"""Events with when they were received, as they lie on the bus."""
Span = tuple[Micros, Micros]


@dataclass(frozen=True)
class Wanted:
    """A firing that should be; `due`: when the clock causes it, None when an event does."""

    firing: Firing
    due: Micros | None


@dataclass
class Line:
    """The figures of one automation."""

    expected: int = 0
    found: int = 0
    lost: int = 0
    invented: int = 0
    duplicate: int = 0
    different: int = 0
    late: int = 0
    actions: int = 0
    latest_ms: float = 0


@dataclass
class Report:
    """What a check found. `examples`: the first few of what is wrong, in words; `actions` in a line: invocations that
    are missing, too many, or not done.
    """

    events: int = 0
    evaluated: int = 0
    lines: dict[str, Line] = field(default_factory=lambda: defaultdict(Line))
    effects: int = 0
    repeated_effects: int = 0
    foreign_effects: int = 0
    examples: list[str] = field(default_factory=list)

    def total(self, name: str) -> int:
        """One figure over all automations."""
        return sum(getattr(line, name) for line in self.lines.values())

    @property
    def wrong(self) -> dict[str, int]:
        """What is not as it should be; empty when all is well."""
        found = {name: self.total(name) for name in ("lost", "invented", "duplicate", "different", "late", "actions")}
        found["unevaluated"] = abs(self.events - self.evaluated)
        found["foreign_effects"] = self.foreign_effects
        return {name: count for name, count in found.items() if count}

    def to_json(self) -> dict[str, Any]:  # Any: figures on their way to JSON
        """All figures."""
        return {
            "ok": not self.wrong,
            "wrong": self.wrong,
            "events": self.events,
            "evaluated": self.evaluated,
            "expected": self.total("expected"),
            "found": self.total("found"),
            "latest_ms": max((line.latest_ms for line in self.lines.values()), default=0),
            "effects": self.effects,
            "repeated_effects": self.repeated_effects,
            "automations": {name: vars(line) for name, line in sorted(self.lines.items())},
            "examples": self.examples,
        }


def log_of(store: Store) -> Heard:
    """The events in the log of a store that its hosts have passed, in its order, received as they saw it.

    What cannot be read is left out.
    """
    heard, received = [], 0
    with store.read() as session:
        passed = positions.offsets(session, "automations").get((STREAM, 0), 0)
        for row in session.exec(select(LogEntry).where(col(LogEntry.seq) < passed).order_by(col(LogEntry.seq))):
            received = ascending(received, micros(row.recorded))
            if row.topic not in (EVENTS, EXTERNAL):
                continue
            try:
                event = codec.read(row.body, row.recorded) if row.topic == EXTERNAL else codec.decode(row.body)
            except BadEvent:
                continue
            heard.append((event, received))
    return heard


def wanted(automations: Iterable[Automation], heard: Heard, begun: Micros, until: Micros) -> dict[UUID, Wanted]:
    """What should have been fired by `until`, by its id; the automations began at `begun`."""
    found: dict[UUID, Wanted] = {}
    playing = Playing(automations)
    playing.begin(begun)
    for event, received in sorted(heard, key=lambda one: one[1]):
        if received > until:
            break
        _pass(playing, received - 1, found)
        _note(found, playing.tell(event, received), None)
    _pass(playing, until, found)
    return found


def check(
    store: Store,
    automations: Sequence[Automation],
    heard: Heard,
    *,
    begun: Micros,
    until: Micros,
    up: Sequence[Span] = (),
    effects: Mapping[str, Counter[str]] | None = None,
    late: Micros = LATE,
    tallied: bool = True,
) -> Report:
    """Compare. `until`: by when all is decided, though more may be; `up`: when a host ran.

    `effects`: for each body that was posted how often under which id. `tallied`: the tally of events is exact.
    """
    report = Report(events=len(heard))
    should = wanted(automations, heard, begun, until + 60_000_000)
    with store.read() as session:
        rows = list(session.exec(select(StoredFiring)))
        counted = session.exec(select(Tally.concerned).where(Tally.automation == "")).first() or 0
        report.evaluated = counted if tallied else report.events
        _compare(report, should, {row.id: row for row in rows}, until)
        _repeats(report, rows)
        _actions(report, session, automations, should)
    for row in rows:
        if (one := should.get(row.id)) and one.due is not None:
            _lateness(report, row, one.due, up, late)
    _effects(report, effects or {})
    return report


def _pass(playing: Playing, until: Micros, found: dict[UUID, Wanted]) -> None:
    while (at := playing.next) is not None and at <= until:
        _note(found, playing.wait(at), at)


def _note(found: dict[UUID, Wanted], decided: Decided, due: Micros | None) -> None:
    for firing in decided.firings:
        found.setdefault(firing.id, Wanted(firing, due if firing.event is None else None))


def _compare(report: Report, should: Mapping[UUID, Wanted], rows: Mapping[UUID, StoredFiring], until: Micros) -> None:
    for identity, one in should.items():
        line = report.lines[one.firing.automation]
        row = rows.get(identity)
        if row is not None:
            line.expected += 1
            if told := _difference(one.firing, row):
                line.different += 1
                _example(report, f"different {told}: {_words(one.firing)}")
        elif one.due is None or one.due <= until:
            line.expected += 1
            line.lost += 1
            _example(report, f"lost: {_words(one.firing)} due {one.due}")
    for identity, row in rows.items():
        line = report.lines[row.automation]
        line.found += 1
        if identity not in should:
            line.invented += 1
            _example(
                report, f"invented: {row.automation} {row.key} {row.state} {row.at} by {row.event_id}, {row.count}"
            )


def _difference(firing: Firing, row: StoredFiring) -> str:
    """What a firing on record has that the firing that should be has not."""
    cause = firing.event.id if firing.event else None
    children = msgspec.json.decode(msgspec.json.encode(firing.children))
    pairs = {
        "at": (firing.at, row.at),
        "cause": (cause, row.event_id),
        "count": (firing.count, row.count),
        "episode": (firing.episode, row.episode),
        "children": (children, row.children),
        "late": (firing.late, row.late),
    }
    return ", ".join(f"{name} {mine} is {theirs}" for name, (mine, theirs) in pairs.items() if mine != theirs)


def _repeats(report: Report, rows: Iterable[StoredFiring]) -> None:
    """Firings that are one, on record under several ids."""
    seen = Counter((row.automation, tuple(row.key), row.state, row.event_id or row.at) for row in rows)
    for (name, *_), count in seen.items():
        report.lines[name].duplicate += count - 1


def _actions(
    report: Report, session: Session, automations: Iterable[Automation], should: Mapping[UUID, Wanted]
) -> None:
    """Invocations beside those that the firings on record should have led to; each must be done."""
    book = {one.name: one for one in automations}
    rows = {row.id: row for row in session.exec(select(StoredInvocation))}
    recorded = set(session.exec(select(StoredFiring.id)))
    planned = {
        one.id: one.automation
        for identity, each in should.items()
        if identity in recorded
        for one in plan(book[each.firing.automation], each.firing)
    }
    for identity in planned.keys() - rows.keys():
        report.lines[planned[identity]].actions += 1
    for identity, row in rows.items():
        refused = row.state == "failed" and row.attempts and row.attempts[-1].get("outcome") == "refused"
        if row.firing_id in should and (identity not in planned or not (row.state == "done" or refused)):
            report.lines[row.automation].actions += 1
            _example(report, f"action {row.action} of {row.automation}: {row.state} {row.reason}")


def _lateness(report: Report, row: StoredFiring, due: Micros, up: Sequence[Span], late: Micros) -> None:
    """How much later than it was due it was put on record, while a host was up."""
    if not any(start <= due and micros(row.recorded) <= end for start, end in up):
        return
    line, by = report.lines[row.automation], micros(row.recorded) - due
    line.latest_ms = max(line.latest_ms, by / 1_000)
    if by > late:
        line.late += 1
        _example(report, f"late by {by / 1_000:.0f} ms: {row.automation} {row.key} due {instant(due)}")


def _effects(report: Report, effects: Mapping[str, Counter[str]]) -> None:
    for body, ids in effects.items():
        report.effects += 1
        report.repeated_effects += ids.total() - 1
        if len(ids) > 1:
            report.foreign_effects += len(ids) - 1
            _example(report, f"one effect under several ids: {body} {dict(ids)}")


def _example(report: Report, text: str) -> None:
    kind = text.split()[0]
    if sum(one.startswith(kind) for one in report.examples) < SHOWN:
        report.examples.append(text)


def _words(firing: Firing) -> str:
    cause = firing.event.id if firing.event else "the clock"
    return f"{firing.automation} {firing.key} {firing.state} {firing.at} by {cause}, {firing.count}"
