"""What happened to an incident, one line each, the oldest first: from its events and its deliveries. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from tocsin.events.model import Event
from tocsin.notifiers.knows import Sent, Tried
from tocsin.notifiers.spans import span_text

_PREFIX: Final = "tocsin.incident."


@dataclass(frozen=True)
class Happening:
    """Something that happened."""

    at: datetime
    what: str


def timeline(events: Sequence[Event], sent: Sequence[Sent], *, opened: datetime, subject: str) -> list[Happening]:
    """The first alert, every change of state, every attempt, and what was not sent."""
    told = [Happening(event.occurred, _changed(event)) for event in events]
    tried = [happening for one in sent for happening in _sent(one)]
    return sorted([Happening(opened, f"first alert: {subject}"), *told, *tried], key=lambda one: one.at)


def _changed(event: Event) -> str:
    """The sentence for an event of the incident."""
    told: dict[str, Any] = event.payload  # Any: JSON
    by = f" by {told['by']}" if told.get("by") else ""
    match event.event.removeprefix(_PREFIX):
        case "acknowledged":
            via = f" through {told['via']}" if told.get("via") else ""
            return f"acknowledged{by}{via}{_until(told)}"
        case "unacknowledged":
            return "the acknowledgement ended by itself" if told.get("expired") else f"acknowledgement taken back{by}"
        case "escalated":
            return f"escalated, step {told.get('level')}: {', '.join(told.get('receivers', []))}"
        case "flapping":
            window = span_text(timedelta(seconds=told.get("window_s", 0)))
            return f"flapping: it fired again {told.get('flaps')} times within {window}"
        case "suppressed":
            return f"nothing is said: {told.get('reason')}"
        case "resolved":
            return f"resolved{by}; to be told: {', '.join(told.get('told', [])) or 'nobody'}"
        case "dropped":
            return f"dropped{by}: {told.get('reason', 'over before told')}"
        case "tocsin.delivery.redriven":
            what = f"{told.get('receiver')}: driven again ({told.get('action')})"
            return f"{what}, it had died after {told.get('tries')} tries: {told.get('reason')}"
        case name:
            return name


def _until(told: dict[str, Any]) -> str:  # Any: JSON
    return f" until {datetime.fromisoformat(told['until']):%Y-%m-%d %H:%M:%SZ}" if told.get("until") else ""


def _sent(sent: Sent) -> Iterator[Happening]:
    what = f"{sent.receiver}: {sent.action}"
    yield from (Happening(one.at, f"{what} {_tried(one)}") for one in sent.attempts)
    if sent.state == "superseded":
        yield Happening(sent.updated, f"{what} not sent: {sent.reason}")
    elif sent.state == "dead":
        yield Happening(sent.updated, f"{what} is dead after {sent.tries} tries")


def _tried(one: Tried) -> str:
    status = f", HTTP {one.status}" if one.status else ""
    return f"{one.outcome}{status}, {one.took_ms} ms" + (f": {one.reason}" if one.reason else "")
