"""Events of the log as CloudEvents on a topic of the user's: a relay with a position and a form of its own.

At least once, each under the id it has in the log; the first arrivals of a resource stand in the order of the log.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlmodel import Session

from tocsin.events import cloudevents, codec, labels
from tocsin.events.bus import Bus, Message, Record
from tocsin.events.clock import Clock
from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.topics import EVENTS, EXTERNAL, TOPICS
from tocsin.store.engine import Store
from tocsin.store.log import HEARD
from tocsin.store.relay import BATCH, LEASE, Relay, Report

TOLD: Final = frozenset({EVENTS, EXTERNAL, HEARD})
_OURS: Final = tuple(topic.name for topic in TOPICS)

Blocked = Callable[[Session], str | None]
"""Why nothing may be written at the moment, or None."""


@dataclass(frozen=True, slots=True)
class Outlet:
    """What is written where: events whose names meet one of the patterns `names`, to `topic` (its full name).

    Raises `Invalid` for a topic of tocsin's own, behind whatever prefix: it would read what it has written.
    """

    topic: str
    mode: cloudevents.Mode = "structured"
    names: tuple[str, ...] = ("tocsin.*",)
    source: str = cloudevents.SOURCE

    def __post_init__(self) -> None:
        if self.topic.endswith(_OURS):
            raise Invalid(f"CloudEvents cannot go to {self.topic}, a topic of tocsin's own; name another one")

    @property
    def group(self) -> str:
        """Under which name its position is kept."""
        return f"cloudevents/{self.topic}"

    def message(self, record: Record) -> Message | None:
        """The message for a record of the log, or None for one that is not wanted. Raises `BadEvent`."""
        if record.topic not in TOLD:
            return None
        try:
            event = codec.decode(record.body)
        except BadEvent:  # something raw that somebody published: whoever reads it buries it
            return None
        if not any(labels.name_matches(pattern, event.event) for pattern in self.names):
            return None
        headers, _, body = cloudevents.to_kafka(event, self.mode, self.source)
        return Message(self.topic, event.resource_id, body, tuple(headers))


class CloudEventsWriter(Relay):
    """Moves what an `outlet` wants from the log of `store` to `bus`; what cannot be sent goes to `letters`.

    It begins with the first event that the log still has. `blocked` is asked before each batch.
    """

    def __init__(
        self,
        store: Store,
        bus: Bus,
        letters: Bus,
        outlet: Outlet,
        clock: Clock | None = None,
        *,
        blocked: Blocked = lambda session: None,
        batch: int = BATCH,
        ttl: timedelta = LEASE,
        report: Report | None = None,
    ) -> None:
        super().__init__(store, bus, clock, batch=batch, ttl=ttl, group=outlet.group, report=report)
        self._outlet, self._letters, self._blocked = outlet, letters, blocked

    async def _publish(self, records: Sequence[Record]) -> None:
        if reason := await self._store.look(self._blocked):
            raise Invalid(reason)
        made, bad = await asyncio.to_thread(self._made, records)
        for record, reason in bad:
            await self._bury(record, reason, self._letters)
        try:
            await self._bus.publish([message for _, message in made])
        except BadEvent:
            for record, message in made:
                await self._publish_alone(record, message, self._letters)
        except Invalid as error:
            raise Invalid(f"CloudEvents go to the topic {self._outlet.topic}, which must be there: {error}") from error

    def _made(self, records: Sequence[Record]) -> tuple[list[tuple[Record, Message]], list[tuple[Record, str]]]:
        """The messages for those that are wanted, and why some cannot be sent."""
        made, bad = [], []
        for record in records:
            try:
                if (message := self._outlet.message(record)) is not None:
                    made.append((record, message))
            except BadEvent as error:
                bad.append((record, str(error)))
        return made, bad
