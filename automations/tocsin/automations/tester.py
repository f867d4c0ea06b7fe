"""A bus and a clock for tests of automations: send events, let time pass, ask what fired.

send ────── send ─────── advance ──▶ fired? which actions?      on the decision path of the live hosts, with no I/O
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal
from uuid import UUID

from tocsin.automations.documents import load
from tocsin.automations.evaluate import Decided
from tocsin.automations.findings import nearest
from tocsin.automations.invocation import Invocation
from tocsin.automations.model import Automation
from tocsin.automations.plan import plan
from tocsin.automations.simulation import Playing, Simulated, simulated
from tocsin.automations.why import told, unmatched
from tocsin.events.clock import micros
from tocsin.events.codec import check
from tocsin.events.errors import Invalid
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.triggers.steps import Firing

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""Where the clock of a test stands at first."""


@dataclass
class _Chapter:
    """An event, or the passing of time, and what came of it."""

    at: datetime
    event: Event | None
    decided: Decided = field(default_factory=Decided)


class Tester:
    """Automations, the events that a test sends them, and the time that it lets pass."""

    __test__ = False  # pytest: it is named like a test, and is none

    def __init__(self, automations: Sequence[Automation], start: datetime = START) -> None:
        self.now = start
        self._automations = {one.name: one for one in automations}
        self._playing = Playing(automations)
        self._playing.begin(micros(start))
        self._chapters: list[_Chapter] = []

    def send(
        self,
        event: Event | str,
        resource: str | Mapping[str, str] = "test",
        *,
        related: Sequence[Mapping[str, str]] = (),
        # Any: a payload is whatever JSON its producer chose.
        payload: Mapping[str, Any] | None = None,
        occurred: datetime | None = None,
        follows: UUID | None = None,
    ) -> Event:
        """Let an event come now; one that happened later than now takes the clock along.

        `event`: a whole one, or its name; then `resource` is the id of what it is about, or its labels, and it
        happened now unless `occurred` says otherwise. Raises `BadEvent`.
        """
        if isinstance(event, str):
            event = Event(
                event=event,
                resource={RESOURCE_ID: resource} if isinstance(resource, str) else dict(resource),
                related=[dict(labels) for labels in related],
                payload=dict(payload or {}),
                occurred=occurred or self.now,
                follows=follows,
            )
        check(event)
        self.now = max(self.now, event.occurred)
        self._wait(micros(self.now) - 1)
        self._chapters.append(_Chapter(self.now, event, self._playing.tell(event, micros(self.now))))
        return event

    def advance(self, span: timedelta) -> datetime:
        """Let time pass; what time it is then. What is due is decided when it is asked for, or at the next event."""
        if span < timedelta(0):
            raise Invalid(f"{span}: time passes forwards only")
        self.now += span
        return self.now

    def fired(self, name: str | None = None) -> list[Simulated]:
        """The firings so far, of one automation or of all. Raises `Invalid` for a name that none has."""
        return self._of(name, "Triggered")

    def resolved(self, name: str | None = None) -> list[Simulated]:
        """That what it fired for is over, of one automation or of all."""
        return self._of(name, "Resolved")

    def not_fired(self, name: str | None = None) -> bool:
        """Whether it has not fired."""
        return not self.fired(name)

    @property
    def actions(self) -> list[Invocation]:
        """What would be done, rendered, in order: `action` is its type, `arguments` what it is given, `refused` why
        it would not be done.
        """
        return [one for firing in self._firings() for one in plan(self._automations[firing.automation], firing)]

    def story(self) -> str:
        """What was sent and what came of it, and why not more: for people."""
        self._wait(micros(self.now))
        lines = [line for chapter in self._chapters for line in self._lines(chapter)]
        return "\n".join([*lines, f"{self.now:%Y-%m-%d %H:%M:%S} now"])

    def _of(self, name: str | None, state: Literal["Triggered", "Resolved"]) -> list[Simulated]:
        if name is not None and name not in self._automations:
            known = sorted(self._automations)
            raise Invalid(f'no automation "{name}" here{nearest(name, known)}; there are: {", ".join(known) or "none"}')
        found = (one for one in self._firings() if one.state == state and name in (None, one.automation))
        return [simulated(firing) for firing in found]

    def _firings(self) -> list[Firing]:
        self._wait(micros(self.now))
        return [firing for chapter in self._chapters for firing in chapter.decided.firings]

    def _wait(self, until: int) -> None:
        decided = self._playing.wait(until)
        if decided.firings:
            self._chapters.append(_Chapter(self.now, None, decided))

    def _lines(self, chapter: _Chapter) -> Iterator[str]:
        event = chapter.event
        what = f"{event.event} of {event.resource_id}" if event is not None else "the time has come"
        yield f"{chapter.at:%Y-%m-%d %H:%M:%S} {what}"
        for name, automation in self._automations.items():
            lines = told(name, chapter.decided)
            if event is not None and not lines:
                lines = unmatched(automation, event) or ["that changes nothing"]
            yield from (f"    {name}: {line}" for line in lines)


def a_tester(*given: Automation | str | Path, start: datetime = START) -> Tester:
    """A tester of these automations, and of those that these files and modules define. Raises `Invalid`."""
    automations = [one for item in given for one in _defined(item)]
    if not automations:
        raise Invalid("give automations, or a file or module that defines some")
    return Tester(automations, start)


def _defined(given: Automation | str | Path) -> Sequence[Automation]:
    return (given,) if isinstance(given, Automation) else load(str(given)).automations
