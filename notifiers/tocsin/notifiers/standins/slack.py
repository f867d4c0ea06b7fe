"""A stand-in for Slack: `chat.postMessage`, `chat.update`, `conversations.history` and an incoming webhook.

It refuses what Slack refuses (required fields, lengths, block counts, a wrong token, an unknown message) and lists
each such message in `violations`.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

from tocsin.notifiers.standins.loopback import Reply, Request, StandIn
from tocsin.notifiers.standins.slack_contract import Breach, check_message

TOKEN = "xoxb-stand-in-0123456789-abcdefghijkl"  # noqa: S105 - opens nothing but the stand-in
CHANNEL = "C0STANDIN01"
_PATH = "/services/T0STANDIN/B0STANDIN/s3cr3tPathOfTheStandIn24"


@dataclass
class SlackMessage:
    """A message as it stands in the channel; `bodies` holds every form it has had."""

    ts: str
    channel: str
    text: str
    blocks: list[dict[str, Any]]
    metadata: dict[str, Any] | None
    via: Literal["api", "webhook"]
    bodies: list[dict[str, Any]] = field(default_factory=list)

    @property
    def updates(self) -> int:
        """How often it was changed."""
        return len(self.bodies) - 1


class SlackStandIn(StandIn):
    """Slack on loopback: `url` is an incoming webhook, `api_url` the Web API (with `token` and `channel`)."""

    def __init__(self, token: str = TOKEN, channel: str = CHANNEL) -> None:
        self.token, self.channel = token, channel
        self.messages: list[SlackMessage] = []
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

    def answer(self, request: Request) -> Reply:
        """Carry out one call."""
        match urlsplit(request.path).path:
            case "/api/chat.postMessage":
                return self._checked(request, self._post)
            case "/api/chat.update":
                return self._checked(request, self._update)
            case "/api/conversations.history":
                return self._checked(request, self._history)
            case path if path == _PATH:
                return self._webhook(request)
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

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        if body.get("channel") != self.channel:
            raise _Answer("channel_not_found")
        check_message(body, update=False)
        return self._kept(body, "api")

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        check_message(body, update=True)
        for message in self.messages:
            if (message.channel, message.ts, message.via) == (body.get("channel"), body.get("ts"), "api"):
                message.text, message.blocks = body.get("text", ""), body.get("blocks", [])
                message.metadata = body.get("metadata", message.metadata)
                message.bodies.append(body)
                return {"channel": message.channel, "ts": message.ts, "text": message.text}
        raise _Answer("message_not_found")

    def _history(self, query: dict[str, Any]) -> dict[str, Any]:
        if query.get("channel") != self.channel:
            raise _Answer("channel_not_found")
        with_metadata = query.get("include_all_metadata") in ("1", "true", True)
        oldest, start = float(query.get("oldest") or 0), int(query.get("cursor") or 0)
        limit = min(int(query.get("limit") or 100), 999)
        found = [message for message in reversed(self.messages) if float(message.ts) > oldest]
        page = [_shown(message, with_metadata) for message in found[start : start + limit]]
        more = start + limit < len(found)
        cursor = {"next_cursor": str(start + limit) if more else ""}
        return {"messages": page, "has_more": more, "response_metadata": cursor}

    def _webhook(self, request: Request) -> Reply:
        body = request.json()
        try:
            check_message(body, update=False)
        except Breach as breach:
            self.violations.append(str(breach))
            return self.refuse(breach.word, request)
        self._kept(body, "webhook")
        return Reply(200, "ok", "text/plain")

    def _kept(self, body: dict[str, Any], via: Literal["api", "webhook"]) -> dict[str, Any]:
        """Remember a new message; its `ts` is its number in the channel, a little after the real ones' beginning."""
        ts = f"{self._now()}.{len(self.messages):06d}"
        message = SlackMessage(
            ts, self.channel, body.get("text", ""), body.get("blocks", []), body.get("metadata"), via, [body]
        )
        self.messages.append(message)
        return {"channel": self.channel, "ts": ts, "message": {"text": message.text, "type": "message"}}

    def _now(self) -> int:
        """Later than every clock that a test may turn by hand, so that history never hides a message."""
        return 4_102_444_800


class _Answer(Exception):
    """An error that the caller may well meet with a correct message: no violation."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def _shown(message: SlackMessage, with_metadata: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {"type": "message", "ts": message.ts, "text": message.text, "blocks": message.blocks}
    if with_metadata and message.metadata:
        shown["metadata"] = message.metadata
    return shown
