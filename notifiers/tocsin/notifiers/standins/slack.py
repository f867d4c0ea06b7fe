"""A stand-in for Slack: messages and their threads, an incoming webhook, buttons that are pressed, Socket Mode.

It refuses what Slack refuses (required fields, lengths, block counts, a wrong token, an unknown message) and lists
each such message in `violations`. Rate limits are kept when `slack.limits.on` is set.

```python
with SlackStandIn() as slack:
    ...                                                               # an incident is told
    slack.press(slack.messages[0], "tocsin.acknowledge", url=f"{api}/api/slack/interactivity/oncall")
    assert slack.thread(slack.messages[0])[-1].text == "👀 Acknowledged by ann"
```
"""

import json
import threading
from dataclasses import dataclass, field
from math import ceil
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from tocsin.notifiers.standins.loopback import Reply, Request, StandIn
from tocsin.notifiers.standins.slack_contract import Breach, check_message
from tocsin.notifiers.standins.slack_limits import Limits
from tocsin.notifiers.standins.slack_press import form, payload_of, send, signed
from tocsin.notifiers.standins.slack_socket import SlackSocket

# They open nothing but the stand-in.
TOKEN = "xoxb-stand-in-0123456789-abcdefghijkl"  # noqa: S105
APP_TOKEN = "xapp-stand-in-0123456789-abcdefghijkl"  # noqa: S105
SIGNING_SECRET = "0123456789abcdefstandin0signing0"  # noqa: S105
CHANNEL = "C0STANDIN01"
ANN = "U0ANN0001"
_PATH = "/services/T0STANDIN/B0STANDIN/s3cr3tPathOfTheStandIn24"
_RESPONSES = "/actions/T0STANDIN/"


@dataclass
class SlackMessage:
    """A message as it stands in the channel; `bodies` holds every form it has had.

    `thread` is the `ts` of the message that a reply stands under; `broadcast` says that the channel shows it too.
    """

    ts: str
    channel: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    via: Literal["api", "webhook"]
    bodies: list[dict[str, Any]] = field(default_factory=list)
    thread: str | None = None
    broadcast: bool = False

    @property
    def buttons(self) -> list[str]:
        """The `action_id` of each button and menu that it shows."""
        elements = [element for block in self.blocks for element in block.get("elements") or []]
        return [element["action_id"] for element in elements if "action_id" in element]

    @property
    def updates(self) -> int:
        """How often it was changed."""
        return len(self.bodies) - 1


class SlackStandIn(StandIn):
    """Slack on loopback: `url` is an incoming webhook, `api_url` the Web API (with `token` and `channel`).

    `messages` has what stands in the channel, `replies` what stands in threads, `responses` what was said to whoever
    pressed a button. With `can_read` false the bot lacks `channels:history`.
    """

    def __init__(self, token: str = TOKEN, channel: str = CHANNEL, *, resend_s: float = 1.0) -> None:
        self.token, self.channel = token, channel
        self.app_token, self.signing_secret = APP_TOKEN, SIGNING_SECRET
        self.messages: list[SlackMessage] = []
        self.replies: list[SlackMessage] = []
        self.responses: list[dict[str, Any]] = []
        self.limits = Limits()
        self.can_read = True
        self._resend_s = resend_s
        self._socket: SlackSocket | None = None
        self._one_socket = threading.Lock()
        super().__init__()

    @property
    def url(self) -> str:
        """The incoming webhook."""
        return f"{self.address}{_PATH}"

    @property
    def api_url(self) -> str:
        """The base URL of the Web API."""
        return f"{self.address}/api/"

    @property
    def updates(self) -> int:
        """How many changes were made to messages."""
        return sum(message.updates for message in self.messages)

    @property
    def socket(self) -> SlackSocket:
        """Socket Mode's other end, from the first use on."""
        with self._one_socket:
            self._socket = self._socket or SlackSocket(self._resend_s)
            return self._socket

    def thread(self, message: SlackMessage) -> list[SlackMessage]:
        """The replies under `message`, oldest first."""
        return [reply for reply in self.replies if reply.thread == message.ts]

    def press(
        self, message: SlackMessage, action_id: str, user: str = ANN, *, url: str = "", value: str | None = None
    ) -> int:
        """Press a button: a signed request to `url`, whose status is the answer, or an envelope by Socket Mode (200).

        Of a menu `value` chooses the option. Blocks until the answer is there: from a loop, call it in a thread.
        """
        payload = self.payload(message, action_id, user, value)
        if not url:
            self.socket.send(payload)
            return 200
        body = form(payload)
        return send(url, body, signed(body, self.signing_secret))

    def payload(
        self, message: SlackMessage, action_id: str, user: str = ANN, value: str | None = None
    ) -> dict[str, Any]:
        """What Slack sends for a press. Raises LookupError when the message does not show such a button."""
        answer_to = f"{self.address}{_RESPONSES}{len(self.responses)}"
        return payload_of(_shown(message, True), self.channel, action_id, user, value, answer_to)

    def close(self) -> None:
        """Stop answering, tear down what is open."""
        super().close()
        if self._socket is not None:
            self._socket.close()

    def answer(self, request: Request) -> Reply:
        """Carry out one call."""
        match urlsplit(request.path).path:
            case "/api/chat.postMessage":
                return self._checked(request, self._post)
            case "/api/chat.update":
                return self._checked(request, self._update)
            case "/api/conversations.history":
                return self._checked(request, self._history)
            case "/api/conversations.replies":
                return self._checked(request, self._replies)
            case "/api/apps.connections.open":
                return self._connect(request)
            case path if path == _PATH:
                return self._webhook(request)
            case path if path.startswith(_RESPONSES):
                self.responses.append(request.json())
                return Reply(200, "ok", "text/plain")
        return Reply(404, "no_service", "text/plain")

    def refuse(self, word: str, request: Request) -> Reply:
        """`{"ok": false, "error": word}` from the Web API, a plain word from the webhook."""
        if request.path.startswith("/api/"):
            return Reply(200, json.dumps({"ok": False, "error": word}))
        status = {"no_service": 404, "action_prohibited": 403, "invalid_token": 403, "channel_is_archived": 410}
        return Reply(status.get(word, 400), word, "text/plain")

    # Any: a handler takes the call's JSON arguments.
    def _checked(self, request: Request, handler: Any) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self.refuse("invalid_auth", request)
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.path).query).items()}
        arguments = {**query, **request.json()}
        try:
            return Reply(200, json.dumps({"ok": True, **handler(arguments)}))
        except Breach as breach:
            self.violations.append(str(breach))
            return self.refuse(breach.word, request)
        except _Answer as answer:
            return self.refuse(answer.word, request)
        except _TooMany as limited:
            refused = self.refuse("ratelimited", request)
            return Reply(429, refused.body, headers={"Retry-After": str(ceil(limited.wait_s))})

    def _connect(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {self.app_token}":
            return self.refuse("invalid_auth", request)
        return Reply(200, json.dumps({"ok": True, "url": self.socket.url()}))

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("channel") != self.channel:
            raise _Answer("channel_not_found")
        _not_too_often(self.limits.post(self.channel))
        check_message(body, update=False)
        root = body.get("thread_ts")
        if root is not None and all(message.ts != root for message in self.messages):
            raise Breach("thread_not_found", f"there is no message {root} to reply to")
        return self._kept(body, "api")

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        _not_too_often(self.limits.call("chat.update"))
        check_message(body, update=True)
        for message in [*self.messages, *self.replies]:
            if (message.channel, message.ts, message.via) == (body.get("channel"), body.get("ts"), "api"):
                message.text, message.blocks = body.get("text", ""), body.get("blocks", [])
                message.metadata = body.get("metadata", message.metadata)
                message.bodies.append(body)
                return {"channel": message.channel, "ts": message.ts, "text": message.text}
        raise _Answer("message_not_found")

    def _history(self, query: dict[str, Any]) -> dict[str, Any]:
        self._reading(query, "conversations.history")
        shown = [*self.messages, *(reply for reply in self.replies if reply.broadcast)]
        newest_first = sorted(shown, key=lambda message: float(message.ts), reverse=True)
        return _page(query, newest_first)

    def _replies(self, query: dict[str, Any]) -> dict[str, Any]:
        self._reading(query, "conversations.replies")
        root = next((message for message in self.messages if message.ts == query.get("ts")), None)
        if root is None:
            raise _Answer("thread_not_found")
        page = _page(query, self.thread(root))
        return {**page, "messages": [_shown(root, True), *page["messages"]]}  # Slack shows the root whatever is asked

    def _reading(self, query: dict[str, Any], method: str) -> None:
        if not self.can_read:
            raise _Answer("missing_scope")
        if query.get("channel") != self.channel:
            raise _Answer("channel_not_found")
        _not_too_often(self.limits.call(method))

    def _webhook(self, request: Request) -> Reply:
        body = request.json()
        if (wait_s := self.limits.post(self.channel)) is not None:
            return Reply(429, "rate_limited", "text/plain", {"Retry-After": str(ceil(wait_s))})
        try:
            check_message(body, update=False)
        except Breach as breach:
            self.violations.append(str(breach))
            return self.refuse(breach.word, request)
        self._kept(body, "webhook")
        return Reply(200, "ok", "text/plain")

    def _kept(self, body: dict[str, Any], via: Literal["api", "webhook"]) -> dict[str, Any]:
        """Remember a new message; its `ts` is its number in the channel, a little after the real ones' beginning."""
        ts = f"{self._now()}.{len(self.messages) + len(self.replies):06d}"
        message = SlackMessage(
            ts, self.channel, body.get("text", ""), body.get("blocks", []), body.get("metadata"), via, [body]
        )
        message.thread, message.broadcast = body.get("thread_ts"), bool(body.get("reply_broadcast"))
        (self.replies if message.thread else self.messages).append(message)
        return {"channel": self.channel, "ts": ts, "message": {"text": message.text, "type": "message"}}

    def _now(self) -> int:
        """Later than every clock that a test may turn by hand, so that history never hides a message."""
        return 4_102_444_800


class _Answer(Exception):
    """An error that the caller may well meet with a correct message: no violation."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


class _TooMany(Exception):
    """More than the rate allows."""

    def __init__(self, wait_s: float) -> None:
        super().__init__(f"wait {wait_s} s")
        self.wait_s = wait_s


def _not_too_often(wait_s: float | None) -> None:
    if wait_s is not None:
        raise _TooMany(wait_s)


def _page(query: dict[str, Any], messages: list[SlackMessage]) -> dict[str, Any]:
    with_metadata = query.get("include_all_metadata") in ("1", "true", True)
    oldest, start = float(query.get("oldest") or 0), int(query.get("cursor") or 0)
    limit = min(int(query.get("limit") or 100), 999)
    found = [message for message in messages if float(message.ts) > oldest]
    page = [_shown(message, with_metadata) for message in found[start : start + limit]]
    more = start + limit < len(found)
    cursor = {"next_cursor": str(start + limit) if more else ""}
    return {"messages": page, "has_more": more, "response_metadata": cursor}


def _shown(message: SlackMessage, with_metadata: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "message", "ts": message.ts, "text": message.text, "blocks": message.blocks}
    if message.thread:
        shown |= {"thread_ts": message.thread, **({"subtype": "thread_broadcast"} if message.broadcast else {})}
    if with_metadata and message.metadata:
        shown["metadata"] = message.metadata
    return shown
