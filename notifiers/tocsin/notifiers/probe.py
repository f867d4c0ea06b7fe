"""A test message: sent straight away, marked as a test, and written down as an attempt."""

import time
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import msgspec
from sqlmodel import Session

from tocsin.events.clock import Clock, SystemClock
from tocsin.events.errors import NotFound
from tocsin.notifiers.channel import Notifier
from tocsin.notifiers.channels import Channels
from tocsin.notifiers.endings import Tried, attempt_values
from tocsin.notifiers.http import Door
from tocsin.notifiers.registry import unknown
from tocsin.notifiers.tables import Attempt, NotifierRow
from tocsin.notifiers.view import Action, View
from tocsin.store.engine import Store


async def send_test(store: Store, name: str, *, clock: Clock | None = None, door: Door | None = None) -> Attempt:
    """Tell `name` that this is a test, once and now, and give the attempt.

    PagerDuty gets an alert of severity info that is resolved at once; when that fails, its attempt is the one given.
    Raises NotFound for an unknown name, Invalid for one whose secrets cannot be read.
    """
    clock = clock or SystemClock()
    row = await store.look(lambda session: _row(session, name))
    channels = Channels(clock, door)
    try:
        channel, incident = await channels.get(row), uuid4()
        attempt = await _try(channel, _view("test", incident, name, clock.now()), name, clock)
        if row.kind == "pagerduty" and attempt.outcome == "delivered":
            attempt = await _try(channel, _view("resolve", incident, name, clock.now()), name, clock)
        await store.run(lambda session: session.add(attempt))
        return attempt
    finally:
        await channels.close()


async def _try(channel: Notifier, view: View, name: str, clock: Clock) -> Attempt:
    message = channel.render(view)
    began = time.monotonic()
    outcome = await channel.send(message, None)
    took = timedelta(seconds=time.monotonic() - began)
    size = len(msgspec.json.encode(message.body))
    return Attempt(**attempt_values(name, "test", Tried(outcome, clock.now(), took, size), None))


def _view(action: Action, incident: UUID, name: str, now: datetime) -> View:
    return View(
        delivery=uuid4(),
        incident=incident,
        dedup_key=f"tocsin/{incident.hex}",
        revision=1,
        action=action,
        severity="info",
        subject=f"this is a test of the notifier {name}",
        body="Nothing is wrong: somebody asked tocsin to prove that this reaches you.",
        opened=now,
        at=now,
    )


def _row(session: Session, name: str) -> NotifierRow:
    row = session.get(NotifierRow, name)
    if row is None:
        raise NotFound(unknown(session, name))
    return row
