"""What there is to tell: the view of an incident that every channel renders in its own way."""

from datetime import datetime
from typing import Any, Literal, get_args
from uuid import UUID

import msgspec

from tocsin.events.errors import Invalid

Action = Literal["trigger", "update", "acknowledge", "repeat", "resolve", "test"]
Severity = Literal["critical", "error", "warning", "info"]


class View(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of one incident as its people should see it. Frozen, and it survives a trip through JSON.

    `items` lists what the incident is about, one line each, newest first; `total` is how many there are in truth;
    `muted` of its alerts are silenced and not among them. `level` counts the steps of escalation behind it.
    What is not `lasting` is news: it stands for nothing that could be acknowledged or be over.
    """

    delivery: UUID
    incident: UUID
    dedup_key: str
    revision: int
    action: Action
    severity: Severity
    subject: str
    body: str
    opened: datetime
    at: datetime
    labels: dict[str, str] = {}
    items: tuple[str, ...] = ()
    total: int = 0
    route: str = ""
    state: Literal["open", "acknowledged", "resolved"] = "open"
    acked_by: str = ""
    flapping: bool = False
    muted: int = 0
    level: int = 0
    lasting: bool = True

    @property
    def over(self) -> bool:
        """Whether this says that the incident is over."""
        return self.action == "resolve"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A rendered view: what goes to the channel, exactly. `minimal` is the plain form for a channel that refused.

    `again` says that an earlier try of this very delivery may have arrived, in part or as a whole.
    """

    delivery: UUID
    incident: UUID
    action: Action
    since: datetime
    # Any: the body is the channel's own JSON.
    body: dict[str, Any]
    minimal: bool = False
    again: bool = False


def message_of(view: View, body: dict[str, Any], minimal: bool) -> Message:  # Any: the channel's own JSON
    """`view` rendered as `body`."""
    return Message(
        delivery=view.delivery,
        incident=view.incident,
        action=view.action,
        since=view.opened,
        body=body,
        minimal=minimal,
    )


def read_severity(text: str) -> Severity:
    """`text` as a severity; raises Invalid that names the four."""
    known: tuple[Severity, ...] = get_args(Severity)
    for severity in known:
        if text == severity:
            return severity
    raise Invalid(f'unknown severity "{text}"; known: {", ".join(known)}')


# Any: the JSON document in a row.
def view_to_json(view: View) -> dict[str, Any]:
    """`view` as a JSON document."""
    document: dict[str, Any] = msgspec.to_builtins(view)
    return document


def view_from_json(document: dict[str, Any]) -> View:
    """The view in a JSON document made by `view_to_json`."""
    return msgspec.convert(document, View)
