"""What people do in PagerDuty, as its v3 webhooks tell it: from the body of a post to an act. Pure.

What we ourselves told PagerDuty comes back with an integration as its agent; that is no act of anybody. PagerDuty signs
the body alone, so a post's age is that of its event: one that is too old, or older than what was heard since, says
nothing.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from tocsin.events.errors import BadEvent
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Unacknowledge
from tocsin.notifiers.fit import clean, cut

TOO_OLD: Final = timedelta(days=3)
"""PagerDuty repeats a post that was not taken for less than that."""

NAME: Final = 200
_MOVED: Final = frozenset({"incident.delegated", "incident.reassigned", "incident.escalated", "incident.reopened"})


@dataclass(frozen=True, slots=True)
class Ping:
    """ "Send test event": somebody looks whether we are there."""


@dataclass(frozen=True, slots=True)
class Word:
    """Something happened to an incident of PagerDuty's. `key` is its dedup key; without an act `reason` says why."""

    id: str
    event_type: str
    key: str
    occurred: datetime
    act: Act | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Other:
    """Something that is none of ours."""

    event_type: str


Post = Ping | Word | Other


class _Agent(msgspec.Struct):
    type: str | None = ""
    summary: str | None = ""


class _Incident(msgspec.Struct):
    incident_key: str | None = None
    status: str | None = ""


class _Event(msgspec.Struct):
    id: str
    event_type: str
    occurred_at: str
    data: msgspec.Raw = msgspec.Raw(b"{}")
    agent: _Agent | None = None


class _Document(msgspec.Struct):
    event: _Event


def read(body: bytes, via: str) -> Post:
    """What a post of PagerDuty says; `via` is the notifier it came to. Raises BadEvent for what is no such post."""
    try:
        event = msgspec.json.decode(body, type=_Document).event
        occurred = datetime.fromisoformat(event.occurred_at)
    except (ValueError, msgspec.DecodeError) as error:  # what msgspec says of it is a ValueError, too
        raise BadEvent(f"not an event of a v3 webhook: {error}") from error
    if event.event_type == "pagey.ping":
        return Ping()
    incident = _incident(event)
    if incident is None or not incident.incident_key:
        return Other(event.event_type)
    occurred = occurred.replace(tzinfo=UTC) if occurred.tzinfo is None else occurred
    act, reason = _act(event, incident, via)
    return Word(event.id, event.event_type, incident.incident_key, occurred.astimezone(UTC), act, reason)


def stale(word: Word, now: datetime, heard: tuple[str, datetime] | None) -> str | None:
    """Why the word says nothing any more, or None; `heard` is the id and the time of the newest one before it."""
    if now - word.occurred > TOO_OLD:
        return f"it happened {(now - word.occurred).days} days ago"
    if heard is None:
        return None
    if word.id == heard[0]:
        return "it was told before"
    return "something newer was told before" if word.occurred < heard[1] else None


def _incident(event: _Event) -> _Incident | None:
    if not event.event_type.startswith("incident."):
        return None
    try:
        return msgspec.json.decode(event.data, type=_Incident)
    except (ValueError, msgspec.DecodeError):  # a note or a responder has another shape
        return None


def _act(event: _Event, incident: _Incident, via: str) -> tuple[Act | None, str]:
    agent = event.agent or _Agent()
    if "integration" in (agent.type or ""):
        return None, "it came through the Events API"
    by = cut(" ".join(clean(agent.summary or "").split()), NAME) or "PagerDuty"
    match event.event_type:
        case "incident.acknowledged":
            return Acknowledge(by=by, via=via), ""
        case "incident.unacknowledged":
            return Unacknowledge(by=by, via=via), ""
        case "incident.resolved":
            return Resolve(by=by, via=via), ""
        case moved if moved in _MOVED and incident.status == "triggered":
            # It pages somebody anew: whoever had it has it no more.
            return Unacknowledge(by=by, via=via), ""
    return None, f"{event.event_type} changes nothing here"


# Any: JSON.
def answer(post: Post) -> dict[str, Any]:
    """What PagerDuty's "send test event" shows."""
    return {"pong": True} if isinstance(post, Ping) else {}
