"""What Slack sends when somebody presses a button: the payload, and the signed request."""

import hashlib
import hmac
import http.client
import json
import time
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

# Any: Block Kit and payloads are JSON.
Json = dict[str, Any]

USERS: Final = {"U0ANN0001": "ann"}
TIMEOUT_S: Final = 10.0


def payload_of(message: Json, channel: str, action_id: str, user: str, value: str | None, response_url: str) -> Json:
    """The `block_actions` payload for a press of `action_id` in `message`.

    Of a menu, `value` chooses the option (by what it shows or by its value). Raises LookupError naming what the
    message shows when there is no such button or option.
    """
    block, element = _element(message, action_id)
    pressed: Json = {"type": element["type"], "action_id": action_id, "block_id": block.get("block_id", "b1")}
    pressed["action_ts"] = f"{time.time():.6f}"
    if "options" in element:
        pressed["selected_option"] = _option(element, value)
    else:
        pressed |= {"value": element.get("value"), "text": element["text"]}
    return {
        "type": "block_actions",
        "team": {"id": "T0STANDIN", "domain": "stand-in"},
        "user": {"id": user, "username": USERS.get(user, user), "name": USERS.get(user, user), "team_id": "T0STANDIN"},
        "api_app_id": "A0STANDIN",
        "container": {"type": "message", "message_ts": message["ts"], "channel_id": channel, "is_ephemeral": False},
        "trigger_id": uuid4().hex,
        "channel": {"id": channel, "name": "stand-in"},
        "message": message,
        "response_url": response_url,
        "actions": [pressed],
    }


def signed(body: bytes, secret: str, at: float | None = None) -> dict[str, str]:
    """The headers of an interactivity request with this body; `at` in seconds since 1970, now when left out."""
    stamp = str(int(time.time() if at is None else at))
    mac = hmac.new(secret.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256)
    return {
        "Content-Type": "application/x-www-form-urlencoded",
        "X-Slack-Request-Timestamp": stamp,
        "X-Slack-Signature": f"v0={mac.hexdigest()}",
    }


def form(payload: Json) -> bytes:
    """The body of an interactivity request."""
    return urlencode({"payload": json.dumps(payload)}).encode()


def send(url: str, body: bytes, headers: dict[str, str]) -> int:
    """POST the request; the status of the answer. Blocks for as long as the answer takes, at most 10 s."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", parts.path, body, headers)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def _element(message: Json, action_id: str) -> tuple[Json, Json]:
    shown = [(block, element) for block in message.get("blocks") or [] for element in block.get("elements") or []]
    buttons = {element["action_id"]: (block, element) for block, element in shown if "action_id" in element}
    if action_id not in buttons:
        raise LookupError(f"the message has no {action_id}; it has: {', '.join(buttons) or 'no buttons'}")
    return buttons[action_id]


def _option(element: Json, value: str | None) -> Json:
    options: list[Json] = element["options"]
    for option in options:
        if value in (None, option["value"], option["text"]["text"]):
            return option
    raise LookupError(f"there is no option {value!r}; there are: {', '.join(o['text']['text'] for o in options)}")
