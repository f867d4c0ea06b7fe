"""The events of schedules: ticks, what was not sent and why, pauses."""

from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import msgspec

from tocsin.events.chain import Cause
from tocsin.events.ids import derive, tick_id
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, RESOURCE_ROLE, Event
from tocsin.triggers.due import Skip, Tick
from tocsin.triggers.tables import Schedule

TICK: Final = "tocsin.schedule.tick"
SKIPPED: Final = "tocsin.schedule.skipped"

# Any, in this file: JSON.


def tick(row: Schedule, one: Tick, sent: datetime, now: datetime) -> Event:
    """The tick of an occurrence that was to be sent at `sent`, and is at `now`."""
    payload = _payload(row, one, max(0.0, round((now - sent).total_seconds(), 6)))
    if row.overlap != "allow":
        payload["overlap"] = row.overlap
    if sent != one.at:
        payload["jitter_s"] = round((sent - one.at).total_seconds(), 6)
    return _event(row.slug, row.deployment, TICK, one.at, payload, tick_id(row.slug, one.at))


def asked_for(row: Schedule, one: Tick, most: int, reverse: bool) -> Event:
    """The tick of an occurrence that somebody asked for afterwards: `most` of its runs at once, the latest first."""
    payload = _payload(row, one, 0.0) | {"backfill": {"max_active": most, "reverse": reverse}}
    return _event(row.slug, row.deployment, TICK, one.at, payload, tick_id(row.slug, one.at))


def skipped(row: Schedule, skip: Skip) -> Event:
    """That occurrences are not sent, and why."""
    return _skipped(row.slug, row.deployment, skip)


def not_run(slug: str, deployment: str, at: datetime, reason: str, follows: UUID | None) -> Event:
    """That the tick of `at` started no run, and why; `follows`: the tick."""
    return msgspec.structs.replace(_skipped(slug, deployment, Skip(at, at, 1, True, reason)), follows=follows)


def switched(row: Schedule, now: datetime, cause: Cause) -> Event:
    """`tocsin.schedule.paused` or `.resumed`: what somebody has just made of the row."""
    verb = "resumed" if row.active else "paused"
    identity = cause.identity("schedule", verb, row.slug)
    event = _event(row.slug, row.deployment, f"tocsin.schedule.{verb}", now, {}, identity)
    return msgspec.structs.replace(event, resource=event.resource | cause.labels, follows=cause.event)


def iso(instant: datetime) -> str:
    """The instant as payloads write it: UTC with Z."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _payload(row: Schedule, one: Tick, lateness_s: float) -> dict[str, Any]:
    at = iso(one.at)
    return {
        "scheduled_time": at,
        "data_interval_start": iso(one.previous),
        "data_interval_end": at,
        "lateness_s": lateness_s,
        "attempt": 1,
        "parameters": row.parameters,
    }


def _skipped(slug: str, deployment: str | None, skip: Skip) -> Event:
    first, last = iso(skip.first), iso(skip.last)
    payload = {
        "scheduled_time": last,
        "first": first,
        "last": last,
        "count": skip.count,
        "exact": skip.exact,
        "reason": skip.reason,
    }
    return _event(slug, deployment, SKIPPED, skip.last, payload, derive("skipped", slug, first, last))


def _event(slug: str, deployment: str | None, name: str, at: datetime, payload: dict[str, Any], key: UUID) -> Event:
    resource = {RESOURCE_ID: f"tocsin.schedule.{slug}", RESOURCE_NAME: slug}
    return Event(id=key, event=name, occurred=at, resource=resource, related=_related(deployment), payload=payload)


def _related(deployment: str | None) -> list[dict[str, str]]:
    if deployment is None:
        return []
    label = {RESOURCE_ID: f"tocsin.deployment.{deployment}", RESOURCE_ROLE: "deployment"}
    return [label | {RESOURCE_NAME: deployment}]
