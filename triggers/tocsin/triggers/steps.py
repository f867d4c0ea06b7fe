"""What goes into a trigger's state machine and what comes out of it: plain values, times in microseconds since 1970.

    signal ──▶ moment ──▶ advance(trigger, remembered, moment) ──▶ step: what it remembers, whether it is met, why

A leaf of a trigger has two interests: events that it expects, and events after which it begins. They are numbered
through the tree, depth first: `2 * leaf` and `2 * leaf + 1`. A signal names those that its event meets.
"""

from datetime import datetime
from functools import cached_property
from typing import Final, Generic, Literal, TypeVar
from uuid import UUID

import msgspec

from tocsin.events.clock import Micros as Micros
from tocsin.events.clock import instant as instant
from tocsin.events.clock import micros as micros
from tocsin.events.ids import derive, firing_id
from tocsin.events.model import Event

Key = tuple[str, ...]
RESOLVES: Final = -1
"""The interest of an automation's `resolve_on`."""


class Signal(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An event that concerns an automation under a key. `received` is when it came onto the bus.

    `fires`: whoever waits for it remembers nothing, so it is a firing; these are the names of its key's labels.
    """

    automation: str
    key: Key
    event: Event
    hits: tuple[int, ...]
    received: Micros
    fires: tuple[str, ...] | None = None


class Moment(msgspec.Struct, frozen=True, gc=False):
    """What a trigger is told: an event that meets its interests `hits`, or (no event) that the time `now` has come.

    `now` is the bus's clock: when the event was received, or when the state was due.
    """

    now: Micros
    event: Event | None = None
    hits: tuple[int, ...] = ()


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """The firing of a composite's child: `trigger` is its place in the list, `event` its cause (none: a deadline)."""

    trigger: int
    at: Micros
    cause: str
    event: UUID | None = None
    count: int = 1
    children: tuple["Part", ...] = ()


class Met(msgspec.Struct, frozen=True):
    """That a trigger is met; or, of a metric that was, that it is over.

    `at` is event time: the latest of what it is made of, or the deadline. `cause` makes the firing's id: the event's
    id, or `due:` and the deadline. `witness`: what is known when no event caused it: the last one under the key, its
    payload left out. `late`: a newer event had been seen before.
    """

    at: Micros
    cause: str
    count: int
    event: Event | None = None
    witness: Event | None = None
    children: tuple[Part, ...] = ()
    late: bool = False
    over: bool = False


Outcome = Literal[
    "fired",  # met
    "resolved",  # a metric is fine again
    "counted",  # one more of what it waits for
    "opened",  # an `after` event began to wait
    "satisfied",  # what a proactive trigger expected came in time
    "held",  # kept for a window that may open
    "repeated",  # an event that counted before
    "late",  # too old for the window
    "cooldown",  # silent after a firing
    "deaf",  # a tumbling window that has fired
    "unopened",  # no `after` event came first
    "lapsed",  # a window ended without firing, or was forgotten
    "steady",  # nothing changed: a metric's sample, or the time came and nothing was due
    "unheard",  # the loop guard: it tells of a refusal
    "error",  # an expression failed
]


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one trigger made of a moment, with the numbers that it saw. `children`: those of a composite's parts."""

    outcome: Outcome
    count: int | None = None
    threshold: int | None = None
    until: Micros | None = None
    value: float | None = None
    reason: str = ""
    trigger: int | None = None
    children: tuple["Verdict", ...] = ()


class Firing(msgspec.Struct, frozen=True, kw_only=True, dict=True, omit_defaults=True):
    """That an automation fires, or (`over`) that what it fired for is over. `at` is event time.

    `event` is the cause; a deadline has none, and `witness` is then the last event known under the key, without its
    payload; `cause` names either for the id. `count` is how many events it took, `names` are those of the key's labels.
    `opened` is the firing that this is part of or ends (none: this one), and `lasting` says that it waits for its end.
    """

    automation: str
    key: Key
    at: datetime
    names: tuple[str, ...] = ()
    event: Event | None = None
    cause: str = ""
    count: int = 1
    over: bool = False
    opened: UUID | None = None
    witness: Event | None = None
    children: tuple[Part, ...] = ()
    late: bool = False
    lasting: bool = False

    @cached_property
    def id(self) -> UUID:
        """What a replay names the same again: made of automation, key and cause, or of the firing that is over."""
        if self.over:
            return derive("resolved", self.opened)
        return firing_id(self.automation, self.key, self.cause or (self.event.id if self.event else ""))

    @property
    def state(self) -> Literal["Triggered", "Resolved"]:
        """In the words of Prefect."""
        return "Resolved" if self.over else "Triggered"

    @property
    def episode(self) -> UUID:
        """The firing that opened what this is part of."""
        return self.opened or self.id

    @property
    def labels(self) -> dict[str, str]:
        """The key by label name."""
        return dict(zip(self.names, self.key, strict=True))

    @property
    def about(self) -> Event | None:
        """The event that tells what this is about: the cause, else the witness."""
        return self.event or self.witness


S = TypeVar("S", covariant=True)


class Step(msgspec.Struct, Generic[S], frozen=True, gc=False):
    """Where a moment leads: what the trigger remembers now (none: nothing worth keeping), whether it is met, why."""

    state: S | None
    met: Met | None
    verdict: Verdict
