"""The stream host: one member of each group, on Kafka; any number of processes may run one.

events ─▶ route ─▶ signals ─▶ lanes: decide ─▶ invocations ─▶ ledger
                                 └─ changelog
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from tocsin.automations.stream import SESSION, Intake
from tocsin.automations.stream_lane import Room
from tocsin.automations.stream_lanes import Figures, Lanes
from tocsin.automations.stream_ledger import deciding, hearing
from tocsin.automations.stream_route import TOPICS, Router
from tocsin.automations.stream_rules import Rulebook, Rules
from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import Conflict, Unavailable
from tocsin.events.kafka import KafkaBus
from tocsin.events.topics import SIGNALS
from tocsin.store.engine import AWAY, Store
from tocsin.store.signals import first

PAUSE_S: Final = 1.0
REPORT_S: Final = 10.0
LOOK_S: Final = 1.0

_LOG = logging.getLogger("tocsin.automations.stream")


class StreamHost:
    """Evaluates automations on Kafka, together with all other members on the same topics and database.

    `report` is told every ten seconds how it fares, every second while partitions are taken over. A member that is
    silent for `session` is taken for dead.
    """

    def __init__(
        self,
        store: Store,
        bus: KafkaBus,
        *,
        clock: Clock | None = None,
        report: Callable[[Figures], object] | None = None,
        session: timedelta = SESSION,
    ) -> None:
        self._bus, self._clock = bus, clock or SystemClock()
        self._rulebook = Rulebook(store)
        self._router = Router(bus, self._rulebook, self._clock)
        self._ledger, self._hearing = deciding(store, bus, self._clock), hearing(store, bus, self._clock)
        self._report, self._silence = report or _log, session
        self._lanes: Lanes | None = None

    @property
    def routed(self) -> int:
        """How many events this member has routed."""
        return self._router.count

    @property
    def decided(self) -> int:
        """How many signals this member has decided since it joined."""
        return self._lanes.signals if self._lanes else 0

    @property
    def ready(self) -> int:
        """How many partitions this member has taken over."""
        return self._lanes.ready if self._lanes else 0

    @property
    def heard(self) -> int:
        """How many records from outside this member has brought to the log."""
        return self._hearing.count

    @property
    def rules(self) -> Rules:
        """The automations as this member knows them."""
        return self._rulebook.rules

    async def serve(self, stop: asyncio.Event) -> None:
        """Work until `stop`. What is away (broker, database) is waited for; raises `Stalled`."""
        while not stop.is_set():
            try:
                await self._session(stop)
            except (Unavailable, Conflict, *AWAY) as error:
                _LOG.warning("the stream begins anew: %s", error)
                await first(stop.wait(), asyncio.sleep(PAUSE_S))

    async def _session(self, stop: asyncio.Event) -> None:
        """One membership in all groups; ends with the first part that fails."""
        await self._rulebook.refresh()
        lanes = self._lanes = Lanes(await self._room())
        intake = Intake(self._bus.address, self._bus.prefix, lanes, self._silence, self._bus.access)
        try:
            await intake.start()
            async with asyncio.TaskGroup() as group:
                for part in (self._rulebook, self._router, self._ledger, self._hearing, intake):
                    group.create_task(part.serve(stop))
                group.create_task(self._watch(lanes, stop))
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from errors
        finally:
            await intake.stop()
            await lanes.close()

    async def _room(self) -> Room:
        widths = {topic: await self._bus.width(topic) for topic in (*TOPICS, SIGNALS)}
        sources = [f"{topic}/{number}" for topic in TOPICS for number in range(widths[topic])]
        return Room.of(self._bus, self._rulebook, self._clock, sources, widths[SIGNALS])

    async def _watch(self, lanes: Lanes, stop: asyncio.Event) -> None:
        """Report until `stop`; raises what a lane has failed with."""
        while not stop.is_set():
            pause = REPORT_S if lanes.settled else LOOK_S
            await first(stop.wait(), asyncio.sleep(pause), asyncio.wait({lanes.failed}))
            if lanes.failed.done():
                lanes.failed.result()
            self._report(await lanes.figures())


def _log(figures: Figures) -> None:
    _LOG.info("stream: %s", figures)
