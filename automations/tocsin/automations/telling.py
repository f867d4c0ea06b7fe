"""Notifications are put down in the transaction that decides them: their alerts, incidents and deliveries with the
firing. What cannot be put down there and then is left in the ledger for the performer, which tries again and tells why.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlmodel import Session

from tocsin.automations.attempt import Executed
from tocsin.automations.invocation import Invocation
from tocsin.automations.ledger import NOTIFICATION, begun_still
from tocsin.events.errors import TocsinError
from tocsin.notifiers.alert import Alert, ToNotifier, ToRoute
from tocsin.notifiers.tables import Incident
from tocsin.notifiers.take import take

_LOG: Final = logging.getLogger("tocsin.automations.telling")

MOST_STRAIGHT: Final = 200
"""Notifications straight to a notifier that one transaction puts down: each is an incident of its own."""

Told = dict[UUID, Executed]
"""What was put down, by invocation."""


def alert_of(invocation: Invocation, now: datetime) -> Alert:
    """What a notification says. Any number of automations may say it of the same thing."""
    arguments, behind = invocation.arguments, invocation.behind
    assert behind.event is not None
    return Alert(
        source=arguments["incident_key"],
        identity=arguments["identity"],
        to=ToRoute(arguments["route"]) if arguments["notifier"] is None else ToNotifier(arguments["notifier"]),
        status="resolved" if arguments["action"] == "resolve" else "firing",
        subject=arguments["subject"],
        body=arguments["body"],
        severity=arguments["severity"],
        labels=arguments["labels"],
        event_id=behind.event,
        at=now,
        lasting=arguments["lasting"],
        cause=behind,
    )


def tell(session: Session, invocations: Sequence[Invocation], episodes: Mapping[UUID, UUID], now: datetime) -> Told:
    """Put down the notifications among `invocations`; those that must wait are left out.

    `episodes`: what each firing that says that something is over ends. Such a word waits for the one before it.
    """
    wanted = [one for one in invocations if one.action == NOTIFICATION and one.refused is None]
    begun = begun_still(session, [episodes[one.firing] for one in wanted if one.firing in episodes])
    ready = _in_time([one for one in wanted if episodes.get(one.firing) not in begun])
    if not ready:
        return {}
    try:
        with session.begin_nested():
            return _told(session, ready, now)
    except (TocsinError, ValueError) as error:
        _LOG.info("not all of %d notifications can be put down at once: %s", len(ready), error)
    return _one_by_one(session, ready, now)


def _in_time(invocations: Sequence[Invocation]) -> list[Invocation]:
    """All that a route will group, and so many of the rest that the transaction stays short; with them what follows."""
    left: set[str] = set()
    ready: list[Invocation] = []
    straight = 0
    for one in invocations:
        source, routed = one.arguments["incident_key"], one.arguments["notifier"] is None
        straight += not routed
        if source in left or (straight > MOST_STRAIGHT and not routed):
            left.add(source)
        else:
            ready.append(one)
    return ready


def executed(invocation: Invocation, incidents: Sequence[Incident]) -> Executed:
    """The outcome of a notification that was put down."""
    found = [str(incident.id) for incident in incidents]
    to = {name: invocation.arguments[name] for name in ("notifier", "route") if invocation.arguments[name] is not None}
    details: dict[str, Any] = {**to, "notification": invocation.arguments["action"]}  # Any: JSON
    return Executed({**details, "incident": found[0] if found else None, "incidents": found})


def _told(session: Session, invocations: Sequence[Invocation], now: datetime) -> Told:
    taken = take(session, [alert_of(one, now) for one in invocations], now)
    return {one.id: executed(one, incidents) for one, incidents in zip(invocations, taken, strict=True)}


def _one_by_one(session: Session, invocations: Sequence[Invocation], now: datetime) -> Told:
    """One that cannot be put down hinders no other, but the end of its own episode."""
    told: Told = {}
    waits: set[str] = set()
    for one in invocations:
        if one.arguments["incident_key"] in waits:
            continue
        try:
            with session.begin_nested():
                told |= _told(session, [one], now)
        except (TocsinError, ValueError):
            waits.add(one.arguments["incident_key"])
    return told
