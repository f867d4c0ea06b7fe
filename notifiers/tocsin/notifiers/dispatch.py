"""The dispatcher: advances the incidents and carries out the deliveries that are due, and writes down what came of it.

A crash between a send and its record leaves a row whose lease runs out; the next dispatcher takes it up, looks for
the message where the channel can look, and sends it again where it cannot.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

import msgspec

from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import Invalid
from tocsin.notifiers.agenda import Agenda, agenda
from tocsin.notifiers.audit import report, violations
from tocsin.notifiers.channel import Notifier
from tocsin.notifiers.channels import Channels
from tocsin.notifiers.claims import Claimed, at_once, claim
from tocsin.notifiers.endings import Tried
from tocsin.notifiers.http import Door
from tocsin.notifiers.outcomes import Delivered, Later, Outcome, Refused, Unknown
from tocsin.notifiers.recorder import Recorder
from tocsin.notifiers.redact import redact, redacted_logger
from tocsin.notifiers.registry import CHANNEL
from tocsin.notifiers.turns import take_turns
from tocsin.notifiers.view import Message
from tocsin.store.engine import AWAY, Store
from tocsin.store.signals import Watch

LEASE: Final = timedelta(seconds=15)
ATTEMPT: Final = timedelta(seconds=12)
UNDER_WAY: Final = 256
AUDIT: Final = timedelta(minutes=1)
NAP: Final = timedelta(seconds=1)
GRACE: Final = timedelta(seconds=15)
UNREADABLE: Final = timedelta(minutes=5)

_LOG = redacted_logger("tocsin.notifiers.dispatch")


class Dispatcher:
    """Delivers, from any number of processes on one database.

    Strictly in order and one at a time for each incident and receiver; receivers do not wait for each other.
    """

    def __init__(
        self,
        store: Store,
        clock: Clock | None = None,
        *,
        lease: timedelta = LEASE,
        jitter: Callable[[], float] = random.random,
        door: Door | None = None,
    ) -> None:
        self._store, self._clock, self._lease = store, clock or SystemClock(), lease
        self._recorder = Recorder(store, jitter)
        self._channels = Channels(self._clock, door)
        self._tasks: set[asyncio.Task[None]] = set()
        self._under_way, self._at_once = Counter[str](), dict[str, int]()
        self._freed = asyncio.Event()
        self._audited = self._clock.now()

    async def serve(self, stop: asyncio.Event) -> None:
        """Deliver until `stop` is set; what is under way then is finished first, for at most 15 s."""
        stopped = asyncio.create_task(stop.wait())
        try:
            with self._store.watch(CHANNEL) as watch:
                while not stop.is_set():
                    await self._round(watch, stopped)
        finally:
            stopped.cancel()
            await self._finish(GRACE if stop.is_set() else timedelta(0))
            await self._channels.close()

    async def run_due(self) -> int:
        """Deliver what is due now, and what becomes due by that, until nothing is; how many attempts were made."""
        attempts = 0
        while True:
            found = await self._look()
            turned, started = await self._turn(found), await self._start(found)
            attempts += started
            if not (turned or started):
                return attempts
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Cancel what is under way and close the channels; only after `run_due`, `serve` does so itself."""
        await self._finish(timedelta(0))
        await self._channels.close()

    async def _round(self, watch: Watch, stopped: asyncio.Task[Any]) -> None:  # Any: what stop.wait() gives
        self._freed.clear()  # before looking: an attempt that ends from here on is not missed
        try:
            await self._audit()
            found = await self._look()
            if await self._turn(found) + await self._start(found):
                return
            pause = self._pause(found.next)
        except AWAY as error:
            _LOG.warning("the database does not answer, trying again: %s", type(error).__name__)
            pause = NAP
        waiting = {asyncio.create_task(watch.wait(pause)), asyncio.create_task(self._freed.wait())}
        await asyncio.wait((*waiting, stopped), return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    async def _look(self) -> Agenda:
        """What can be done now."""
        now, full = self._clock.now(), {receiver for receiver in self._under_way if self._is_full(receiver)}
        return await self._store.look(lambda session: agenda(session, now, full))

    async def _turn(self, found: Agenda) -> int:
        """Advance the incidents that are due; how many."""
        now = self._clock.now()
        return await self._store.run(lambda session: take_turns(session, now)) if found.turn else 0

    async def _audit(self) -> None:
        """Once a minute, the first time a minute after the start: look for what must not be, and tell of it."""
        now = self._clock.now()
        if now - self._audited < AUDIT:
            return
        self._audited = now
        if not await self._store.look(lambda session: violations(session, now)):
            return
        for violation in await self._store.run(lambda session: report(session, now)):
            _LOG.error("audit: %s of %s: %s", violation.rule, violation.subject, violation.text)

    async def _start(self, found: Agenda) -> int:
        """Begin an attempt for each delivery that may be tried now; how many."""
        now, free = self._clock.now(), UNDER_WAY - self._under_way.total()
        if free <= 0 or not found.receivers:
            return 0
        under_way = dict(self._under_way)
        claimed = await self._store.run(
            lambda session: claim(session, found.receivers, now, self._lease, under_way, free)
        )
        for each in claimed:
            self._at_once[each.receiver] = at_once(each.notifier)
            self._spawn(self._deliver(each), each.receiver)
        return len(claimed)

    def _spawn(self, work: Coroutine[Any, Any, None], receiver: str) -> None:  # Any: what coroutines are made of
        task = asyncio.create_task(work)
        self._tasks.add(task)
        self._under_way[receiver] += 1
        task.add_done_callback(partial(self._ended, receiver))

    def _ended(self, receiver: str, task: asyncio.Task[None]) -> None:
        was_all = self._under_way.total() >= UNDER_WAY
        self._tasks.remove(task)
        self._under_way[receiver] -= 1
        if was_all or not self._is_full(receiver):
            self._freed.set()

    def _is_full(self, receiver: str) -> bool:
        """More is begun when half is done: to claim many together costs little more than to claim one."""
        return self._under_way[receiver] > self._at_once[receiver] // 2

    def _pause(self, due: datetime | None) -> timedelta:
        """How long there is nothing to do unless somebody says otherwise."""
        return NAP if due is None else min(max(due - self._clock.now(), timedelta(milliseconds=5)), NAP)

    async def _deliver(self, claimed: Claimed) -> None:
        began = time.monotonic()
        outcome, size = await self._attempt(claimed)
        took = timedelta(seconds=time.monotonic() - began)
        tried = Tried(outcome, self._clock.now(), took, size, claimed.waited)
        try:
            step = await self._recorder.record(claimed, tried)
        except AWAY as error:
            _LOG.warning(
                "delivery %s: %s could not be written down, it will be taken up again: %s: %s",
                *(claimed.id, type(outcome).__name__.lower(), type(error).__name__, getattr(error, "orig", error)),
            )
            return
        state = "not ours any more" if step is None else step.state
        reason = "" if isinstance(outcome, Delivered) else f": {outcome.reason}"
        _LOG.info("delivery %s to %s is %s%s", claimed.id, claimed.receiver, state, reason)

    async def _attempt(self, claimed: Claimed) -> tuple[Outcome, int]:
        """The outcome of one try, and the size of the message in bytes."""
        if claimed.notifier is None:
            return Refused(f'notifier "{claimed.receiver}" was removed'), 0
        try:
            channel = await self._channels.get(claimed.notifier)
        except Invalid as error:
            return Later(UNREADABLE, redact(str(error))), 0
        except Exception as error:  # whatever opening it raises is an attempt that failed, not a lost row
            _LOG.exception("notifier %s cannot be opened", claimed.receiver)
            return Later(UNREADABLE, redact(f"{type(error).__name__}: {error}")), 0
        try:
            rendered = channel.render(claimed.view, minimal=claimed.minimal)
            message = msgspec.structs.replace(rendered, again=claimed.again)
        except Exception as error:  # a view that breaks the rendering harms only itself
            _LOG.exception("delivery %s cannot be rendered", claimed.id)
            return Refused(redact(f"cannot be rendered: {error}"), resend_minimal=True), 0
        return await self._send(channel, message, claimed), len(msgspec.json.encode(message.body))

    async def _send(self, channel: Notifier, message: Message, claimed: Claimed) -> Outcome:
        try:
            async with asyncio.timeout(min(ATTEMPT, self._lease * 0.8).total_seconds()):
                return await look_and_send(channel, message, claimed.handle, look_first=claimed.look_first)
        except TimeoutError:
            return Unknown(f"no answer within {ATTEMPT.total_seconds():g} s")
        except Exception as error:  # the channels promise to raise nothing; a broken promise must not lose the row
            _LOG.exception("delivery %s: the channel raised", claimed.id)
            return Unknown(redact(f"{type(error).__name__}: {error}"))

    async def _finish(self, grace: timedelta) -> None:
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks), timeout=grace.total_seconds())
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self._recorder.close()


async def look_and_send(
    channel: Notifier, message: Message, handle: dict[str, Any] | None, *, look_first: bool
) -> Outcome:  # Any: a handle is the channel's own JSON
    """Send `message`; with `look_first` only after looking whether an earlier try of it has arrived.

    A trigger that is found is delivered; a later word goes to the message that was found.
    """
    if look_first:
        found = await channel.find(message)
        if isinstance(found, Later):
            return found
        if isinstance(found, Delivered):
            if message.action == "trigger":
                return found
            handle = found.handle
    return await channel.send(message, handle)
