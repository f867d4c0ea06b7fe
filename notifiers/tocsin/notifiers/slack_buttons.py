"""The buttons under an incident in Slack: what they say, and what a press of one carries back. Pure.

Limits: 25 elements in a block, a button's text 75 and value 2,000, an option's text 75 and value 150, `action_id` and
`block_id` 255 characters. A notifier's name has at most 100.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from tocsin.notifiers.view import View

ACKNOWLEDGE: Final = "tocsin.acknowledge"
UNACKNOWLEDGE: Final = "tocsin.unacknowledge"
RESOLVE: Final = "tocsin.resolve"
SILENCE: Final = "tocsin.silence"
SPANS: Final = {
    "1 hour": timedelta(hours=1),
    "4 hours": timedelta(hours=4),
    "1 day": timedelta(days=1),
}
_PLACE: Final = "tocsin"

# Any: Block Kit JSON.
Block = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a button stands: the notifier that posted it."""

    notifier: str


def buttons(view: View, notifier: str) -> Block | None:
    """The block of buttons for `view`; None when there is nothing to do about it (any more)."""
    if view.over or view.state == "resolved" or view.action == "test" or not view.lasting:
        return None
    elements = [_taking(view), _button(RESOLVE, "Resolve", view.incident), _silence(view.incident)]
    # Another block_id at each revision: a select would go on showing what was chosen before.
    return {"type": "actions", "block_id": f"{_PLACE}/{view.revision}/{notifier}", "elements": elements}


def place_of(block_id: str) -> Place | None:
    """Whose button it is, from the `block_id` that came back; None when it is none of ours."""
    mark, _, rest = block_id.partition("/")
    notifier = rest.partition("/")[2]
    return Place(notifier) if mark == _PLACE and notifier else None


def incident_of(value: str) -> UUID | None:
    """The incident in a button's or an option's value."""
    try:
        return UUID(value.partition(" ")[0])
    except ValueError:
        return None


def span_of(value: str) -> timedelta | None:
    """How long an option of the silence menu asks for; only what the menu offers."""
    seconds = value.partition(" ")[2]
    return next((span for span in SPANS.values() if seconds == _seconds(span)), None)


def _taking(view: View) -> Block:
    if view.state == "acknowledged":
        return _button(UNACKNOWLEDGE, "Unacknowledge", view.incident)
    return {**_button(ACKNOWLEDGE, "Acknowledge", view.incident), "style": "primary"}


def _button(action: str, text: str, incident: UUID) -> Block:
    return {"type": "button", "action_id": action, "text": _plain(text), "value": str(incident)}


def _silence(incident: UUID) -> Block:
    options = [{"text": _plain(text), "value": f"{incident} {_seconds(span)}"} for text, span in SPANS.items()]
    return {"type": "static_select", "action_id": SILENCE, "placeholder": _plain("Silence for …"), "options": options}


def _seconds(span: timedelta) -> str:
    return str(int(span.total_seconds()))


def _plain(text: str) -> Block:
    return {"type": "plain_text", "text": text, "emoji": True}
