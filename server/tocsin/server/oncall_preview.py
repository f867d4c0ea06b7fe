"""What a notifier would send of an event: by the automations that tell it, from firing to message."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from sqlmodel import Session

from tocsin.automations import store as stored
from tocsin.automations.actions_messages import SendNotification
from tocsin.automations.ledger import NOTIFICATION
from tocsin.automations.model import Automation
from tocsin.automations.plan import plan
from tocsin.automations.recorded import Logged, find, leading_up
from tocsin.automations.route import Index
from tocsin.automations.simulation import Playing
from tocsin.automations.telling import alert_of
from tocsin.automations.why import conditions, reach, unmatched
from tocsin.events.clock import Clock, micros
from tocsin.events.errors import Invalid, NotFound
from tocsin.notifiers.preview import Previewed, Seen, read_sample, rendered, see
from tocsin.notifiers.registry import unknown
from tocsin.notifiers.route import receivers_of
from tocsin.notifiers.routes import get_tree
from tocsin.notifiers.tables import NotifierRow
from tocsin.store.engine import Store
from tocsin.triggers.steps import RESOLVES, Firing

LOOKED_BACK = 20_000
NOT_YET = "on this event alone it does not fire; this is what it says when it does"


@dataclass(frozen=True, slots=True)
class _Said:
    automation: str
    seen: Seen


async def of_event(
    store: Store, name: str, event: UUID, clock: Clock, *, automation: str | None = None, minimal: bool = False
) -> list[Previewed]:
    """The messages to the notifier `name` that an event leads to, one an automation that tells it.

    Raises NotFound for an unknown notifier, event or automation, and Invalid when nobody tells the notifier of it.
    """
    now = clock.now()
    said = await store.look(lambda session: _said(session, name, event, automation, now))
    messages = await rendered([one.seen for one in said], clock, minimal=minimal)
    return [replace(message, automation=one.automation) for message, one in zip(messages, said, strict=True)]


async def of_sample(store: Store, name: str, document: bytes, clock: Clock, *, minimal: bool = False) -> Previewed:
    """The message to the notifier of an alert that somebody has written down (JSON).

    Raises NotFound for an unknown notifier or route, Invalid for what is no alert, or does not come to the notifier.
    """
    now = clock.now()
    alert = read_sample(document, name, now)
    seen = await store.look(lambda session: see(session, name, alert, now))
    if seen is None:
        raise Invalid(f"by its route the alert does not come to {name}; `tocsin route test` says where it goes")
    [message] = await rendered([seen], clock, minimal=minimal)
    return message


def _said(session: Session, name: str, event: UUID, automation: str | None, now: datetime) -> list[_Said]:
    if session.get(NotifierRow, name) is None:
        raise NotFound(unknown(session, name))
    found = find(session, event)
    if found is None:
        raise NotFound(f"no event in the log has the id {event}; `tocsin event ls` lists the newest")
    telling = list(_telling(session, name, automation))
    concerned = [one for one in telling if any(condition.matched for condition in conditions(one, found.event))]
    said = [word for one in concerned for word in _words(session, one, name, found, now)]
    if not said:
        raise Invalid(_nobody(name, found, telling, concerned))
    return said


def _nobody(name: str, found: Logged, telling: list[Automation], concerned: list[Automation]) -> str:
    if not telling:
        return f"no automation tells {name} of anything; `tocsin notifier preview {name} --alert FILE` needs none"
    if concerned:
        return f"by its route it does not come to {name}; `tocsin incident explain --event {found.event.id}` says why"
    why = "; ".join(f"{one.name}: {', '.join(unmatched(one, found.event))}" for one in telling[:5])
    return f"the event concerns no automation that tells {name}: {why}"


def _telling(session: Session, name: str, automation: str | None) -> Iterator[Automation]:
    """The automations that tell the notifier, by its name or by a route."""
    listed = [stored.get(session, automation)] if automation else stored.list_automations(session)
    for one in listed:
        if any(_reaches(session, word, name) for word in one.automation.told):
            yield one.automation


def _reaches(session: Session, word: SendNotification, name: str) -> bool:
    if word.notifier is not None or word.route is None:
        return word.notifier == name
    try:
        return name in receivers_of(get_tree(session, word.route))
    except NotFound:
        return False


def _words(session: Session, automation: Automation, name: str, found: Logged, now: datetime) -> Iterator[_Said]:
    firing, fires = _firing(session, automation, found)
    note = () if fires else (NOT_YET,)
    for invocation in plan(automation, firing):
        if invocation.action != NOTIFICATION:
            continue
        refused = (f"it would be refused: {invocation.refused}",) if invocation.refused else ()
        seen = see(session, name, alert_of(invocation, now), now)
        if seen is not None:
            yield _Said(automation.name, replace(seen, notes=(*note, *refused, *seen.notes)))


def _firing(session: Session, automation: Automation, found: Logged) -> tuple[Firing, bool]:
    """The firing on the event, by today's definition and what came before; if there is none, as if there were."""
    playing = Playing([automation])
    since = found.received - 2 * reach(automation.trigger) - timedelta(seconds=1)
    firings: list[Firing] = []
    for event, received in leading_up(session, found, since, LOOKED_BACK):
        playing.begin(micros(received))
        playing.wait(micros(received) - 1)
        firings = playing.tell(event, micros(received)).firings
    return (firings[-1], True) if firings else (_as_if(automation, found), False)


def _as_if(automation: Automation, found: Logged) -> Firing:
    signals = list(Index([automation]).route(found.event, micros(found.received)))
    ends = any(RESOLVES in signal.hits for signal in signals)
    return Firing(
        automation=automation.name,
        key=signals[0].key if signals else (),
        at=found.event.occurred,
        names=automation.resolve_labels if ends else automation.key_labels,
        event=found.event,
        cause=str(found.event.id),
        over=ends,
        opened=found.event.id if ends else None,
        lasting=automation.lasting,
    )
