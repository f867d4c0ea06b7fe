"""What a press of a button in Slack means: from the payload of an interaction to an act. Pure.

A `block_actions` payload, as far as it is read here:

```json
{"type": "block_actions", "user": {"id": "U012AB3CD", "username": "ann"}, "response_url": "https://hooks.slack.com/…",
 "actions": [{"action_id": "tocsin.acknowledge", "block_id": "tocsin/3/oncall", "value": "<incident>",
              "action_ts": "1700000000.123456"}]}
```
"""

from dataclasses import dataclass
from typing import Any, assert_never
from uuid import UUID

import msgspec

from tocsin.events.ids import derive
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Silence, Unacknowledge
from tocsin.notifiers.fit import clean, cut
from tocsin.notifiers.slack_buttons import ACKNOWLEDGE, RESOLVE, SILENCE, UNACKNOWLEDGE, incident_of, place_of, span_of

BY = 100


@dataclass(frozen=True, slots=True)
class Press:
    """A button of ours was pressed. `id` is the same for the same press, however often it is told.

    `notifier` is whose message it was in, as the button says; `answer_to` takes a word for whoever pressed.
    """

    id: UUID
    act: Act
    incident: UUID
    notifier: str
    answer_to: str


@dataclass(frozen=True, slots=True)
class Strange:
    """It looks like a button of ours, and cannot be understood."""

    reason: str
    answer_to: str


class _User(msgspec.Struct):
    id: str
    username: str = ""
    name: str = ""


class _Option(msgspec.Struct):
    value: str = ""


class _Action(msgspec.Struct):
    action_id: str = ""
    block_id: str = ""
    value: str | None = None
    action_ts: str = ""
    selected_option: _Option | None = None


class _Payload(msgspec.Struct):
    type: str
    user: _User
    actions: list[_Action] = []
    response_url: str = ""


_OURS = (ACKNOWLEDGE, UNACKNOWLEDGE, RESOLVE, SILENCE)


def read_press(payload: Any) -> Press | Strange | None:  # Any: JSON as it came
    """What the payload asks for; None when it is not about a button of ours (another interaction of the app)."""
    try:
        read = msgspec.convert(payload, _Payload)
    except msgspec.ValidationError:
        return None
    action = next((one for one in read.actions if one.action_id in _OURS), None)
    if read.type != "block_actions" or action is None:
        return None
    value = (action.selected_option.value if action.selected_option else action.value) or ""
    place, incident = place_of(action.block_id), incident_of(value)
    if place is None or incident is None:
        return Strange("this button names no incident; it is not one that tocsin has made", read.response_url)
    act = _act(action.action_id, _who(read.user), place.notifier, value)
    if act is None:
        return Strange("this is no span that the menu offers", read.response_url)
    press = derive("slack-press", read.user.id, action.action_id, value, action.action_ts)
    return Press(press, act, incident, place.notifier, read.response_url)


def done(act: Act) -> str:
    """What to say to whoever pressed, where the message itself will not show it; "" otherwise."""
    match act:
        case Silence(span=span):
            return f"Silenced for {int(span.total_seconds()) // 3600} h. `tocsin silence ls` lists it."
        case Acknowledge() | Unacknowledge() | Resolve():
            return ""
        case _:
            assert_never(act)


def _act(action_id: str, by: str, via: str, value: str) -> Act | None:
    match action_id:
        case "tocsin.acknowledge":
            return Acknowledge(by, via)
        case "tocsin.unacknowledge":
            return Unacknowledge(by, via)
        case "tocsin.resolve":
            return Resolve(by, via)
        case _:
            span = span_of(value)
            return Silence(by, span, via, "from Slack") if span else None


def _who(user: _User) -> str:
    """The user's handle, which a workspace has once; the id where Slack gives no handle."""
    return cut(" ".join(clean(user.username or user.name).split()), BY) or user.id
