"""What a rule says of one thing: it fires, or it is over. Alerts of a group make an incident."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

import msgspec

from tocsin.events.chain import OUTSIDE, Cause
from tocsin.events.ids import derive
from tocsin.notifiers.view import Severity


class ToNotifier(msgspec.Struct, frozen=True, tag="notifier"):
    """Straight to this notifier, at once."""

    name: str


class ToRoute(msgspec.Struct, frozen=True, tag="route"):
    """To whom the route of this name says, and when it says."""

    name: str


class ToStorm(msgspec.Struct, frozen=True, tag="storm"):
    """Into the storm of this notifier: what only the dispatcher says, of an incident that the storm speaks for."""

    name: str


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that something fires or is over.

    `identity` names the thing: alerts of the same identity are one line of an incident. `source` names what fired
    ("etl/<episode>"): only a resolve of the same source ends it, and a source that a person has closed stays closed.
    `event_id` is the event behind it, `at` its time: the same event again changes nothing. One that does not last
    (`lasting` false) is news, and nothing will ever resolve it. `items` (newest first, `total` in truth) are the
    things it is about; `cause` tells which automations stand behind it.
    """

    source: str
    identity: str
    to: ToNotifier | ToRoute | ToStorm
    subject: str
    event_id: UUID
    at: datetime
    status: Literal["firing", "resolved"] = "firing"
    body: str = ""
    severity: Severity = "error"
    labels: dict[str, str] = {}
    items: tuple[str, ...] = ()
    total: int = 0
    lasting: bool = True
    cause: Cause = OUTSIDE

    @property
    def fingerprint(self) -> UUID:
        """The id of its identity."""
        return derive("alert", self.identity)


# Any: the JSON document that carries an alert from a rule to the dispatcher.
def alert_to_json(alert: Alert) -> dict[str, Any]:
    """`alert` as a JSON document."""
    document: dict[str, Any] = msgspec.to_builtins(alert)
    return document


def alert_from_json(document: dict[str, Any]) -> Alert:
    """The alert in a JSON document made by `alert_to_json`. Raises ValueError for one that is none."""
    return msgspec.convert(document, Alert)
