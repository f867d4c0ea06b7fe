"""Slack through slack-sdk: this and `slack_socket` are the only places that import it.

One message an incident, changed in place; what has changed is said in its thread. No retry handler: a retry is a row
with a due time.
"""

import json
import re
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from weakref import WeakKeyDictionary

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.signature import Clock as SlackClock
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tocsin.events.clock import Clock
from tocsin.notifiers.blocks import Slack, SlackWebhook
from tocsin.notifiers.http import Door, network_outcome, proxy_for
from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome, Refused, retry_after
from tocsin.notifiers.redact import redact, redacted_logger
from tocsin.notifiers.slack_message import EVENT_TYPE, render_slack
from tocsin.notifiers.slack_thread import LINE_TYPE, Standing, from_payload, thread_line, to_payload
from tocsin.notifiers.view import Message, View

# Slack's error words, by what to do about them.
RETRY: Final = frozenset(
    {"ratelimited", "rate_limited", "internal_error", "fatal_error", "request_timeout", "service_unavailable"}
)
RESEND_MINIMAL: Final = frozenset(
    {
        "invalid_blocks",
        "invalid_blocks_format",
        "msg_too_long",
        "msg_blocks_too_long",
        "too_many_attachments",
        "attachment_payload_limit_exceeded",
        "metadata_too_large",
        "invalid_metadata_format",
        "invalid_payload",
    }
)
POST_ANEW: Final = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
WAIT_LONG: Final = frozenset({"message_limit_exceeded"})
DEAD: Final = frozenset(
    {
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "channel_is_archived",
        "restricted_action",
        "invalid_auth",
        "not_authed",
        "account_inactive",
        "token_revoked",
        "token_expired",
        "missing_scope",
        "no_permission",
        "action_prohibited",
        "invalid_token",
        "no_service",
        "no_team",
        "team_disabled",
        "user_not_found",
    }
)
LONG: Final = timedelta(hours=1)
LIMITED: Final = timedelta(seconds=30)
LOOK_BACK: Final = timedelta(minutes=5)
PAGES: Final = 3
MINUTE: Final = timedelta(minutes=1)
UPDATES: Final = 45
"""`chat.update` in a minute, of one process in one workspace; Slack promises 50."""
PLAIN_UPDATES: Final = 30
"""Of them for news that can wait; the rest is kept for acknowledged, escalated, over."""

_CHANNEL_ID = re.compile(r"[CGD][A-Z0-9]{8,}")
_LOG = redacted_logger("tocsin.notifiers.slack")


def classify(error: str, status: int, headers: Mapping[str, str], now: datetime) -> Outcome:
    """What Slack's error word and status mean for a delivery. Retry-After counts wherever it stands."""
    wait = retry_after(headers, now)
    reason = redact(f"Slack: {error or f'HTTP {status}'}")[:500]
    if status == 429 or error in ("ratelimited", "rate_limited"):
        return Later(wait if wait is not None else LIMITED, reason, status)
    if error in WAIT_LONG:
        return Later(max(wait or LONG, LONG), reason, status)
    if error in RETRY or status >= 500 or status == 408:
        return Later(wait, reason, status)
    if error in DEAD or error.startswith("restricted_action") or status in (401, 403, 404, 410):
        return Refused(reason, resend_minimal=False, status=status)
    return Refused(reason, resend_minimal=not 300 <= status < 400, status=status)


def is_from_slack(secret: str, body: bytes, headers: Mapping[str, str], now: datetime) -> bool:
    """Whether a request was signed with an app's signing secret, less than five minutes ago."""
    given = {name.lower(): value for name, value in headers.items()}
    stamp, signature = given.get("x-slack-request-timestamp", ""), given.get("x-slack-signature", "")
    if not (stamp.isascii() and stamp.isdecimal() and len(stamp) < 12 and signature.isascii()):
        return False
    try:
        return SignatureVerifier(secret, _At(now)).is_valid(body, stamp, signature)
    except UnicodeDecodeError:
        return False


class SlackNotifier:
    """A channel by bot token: posts once an incident, changes that message, says in its thread what has changed.

    A handle is `channel`, `ts` and what the thread has been `told`: a line is the difference to that.
    """

    def __init__(self, block: Slack, door: Door, clock: Clock) -> None:
        self._block, self._clock = block, clock
        token = block.token.get_secret_value()
        self._pace = _PACES.setdefault(door, {}).setdefault(token, Updates())
        self._buttons = block.name if block.signing_secret or block.app_token else ""
        self._client = AsyncWebClient(
            token=token, base_url=block.api_url, session=door.session(), retry_handlers=[], logger=_LOG
        )
        self._client.proxy = proxy_for(block.api_url)

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """Blocks, text, metadata, and buttons when presses can come in."""
        return render_slack(view, minimal=minimal, metadata=True, pressed_by=self._buttons)

    async def send(self, message: Message, handle: Handle | None) -> Outcome:
        """Change the incident's message when there is one, post it otherwise or when Slack will not change it."""
        if not handle or message.action == "test":
            return await self._post(message)
        wait = self._pace.wait(self._clock.now(), PLAIN_UPDATES if message.action == "update" else UPDATES)
        if wait is not None:
            return Later(wait, f"chat.update is kept under {UPDATES} a minute", alone=True)
        outcome, error = await self._call(self._update(message, handle))
        if error in POST_ANEW:
            return await self._post_anew(message, handle)
        if isinstance(outcome, Later):
            return replace(outcome, alone=True)  # posts have a limit of their own
        return await self._say(message, handle) if isinstance(outcome, Delivered) else outcome

    async def find(self, message: Message) -> Delivered | Later | None:
        """Look through the channel's history for a message that carries this incident's id.

        Needs the channel's id and `channels:history`; without them nothing can be found, and None is the answer.
        """
        if not _CHANNEL_ID.fullmatch(self._block.channel):
            return None
        found = await self._look("conversations.history", _oldest(message.since), EVENT_TYPE, "incident", message)
        if not isinstance(found, dict):
            return found
        return Delivered(_handle(self._block.channel, found["ts"], from_payload(_payload(found))), 200)

    async def close(self) -> None:
        """Nothing of its own: the session is the door's."""

    async def _post(self, message: Message) -> Outcome:
        post = self._client.chat_postMessage
        outcome, error = await self._call(post(channel=self._block.channel, **message.body))
        if "metadata" in error:  # surely not posted, and a page without them is better than none
            plain = {name: value for name, value in message.body.items() if name != "metadata"}
            outcome, error = await self._call(post(channel=self._block.channel, **plain))
        if isinstance(outcome, Delivered) and outcome.handle:
            return replace(outcome, handle=_handle(outcome.handle["channel"], outcome.handle["ts"], _now(message)))
        return outcome

    async def _post_anew(self, message: Message, handle: Handle) -> Outcome:
        """A new message in the place of one that can no longer be changed; looked for first if it may be there."""
        found = await self.find(message) if message.again else None
        if isinstance(found, Later):
            return found
        if isinstance(found, Delivered) and found.handle["ts"] != handle["ts"]:
            return found
        return await self._post(message)

    async def _say(self, message: Message, handle: Handle) -> Outcome:
        """Post the line that the thread is owed, if it is owed one, and if an earlier try has not posted it."""
        now = _now(message)
        told = Delivered(_handle(handle["channel"], handle["ts"], now), 200)
        if now is None:
            return told
        before = from_payload(handle.get("told"))
        line = thread_line(before, now, message.action, message.since, message.body["text"])
        if line is None:
            return told
        if message.again:
            oldest = {"ts": handle["ts"], **_oldest(now.at)}
            said = await self._look("conversations.replies", oldest, LINE_TYPE, "delivery", message)
            if said is not None:
                return said if isinstance(said, Later) else told
        metadata = {"event_type": LINE_TYPE, "event_payload": {"delivery": str(message.delivery)}}
        reply = self._client.chat_postMessage(
            channel=handle["channel"],
            thread_ts=handle["ts"],
            text=line.text,
            metadata=metadata,
            reply_broadcast=line.broadcast or None,
        )
        outcome, _ = await self._call(reply)
        return told if isinstance(outcome, Delivered) else outcome

    def _update(self, message: Message, handle: Handle) -> Awaitable[AsyncSlackResponse]:
        self._pace.count(self._clock.now())
        body = {"blocks": [], **message.body}
        return self._client.chat_update(channel=handle["channel"], ts=handle["ts"], **body)

    async def _look(
        self, method: str, where: dict[str, str], kind: str, key: str, message: Message
    ) -> dict[str, Any] | Later | None:  # Any: a message as Slack gives it
        """The newest message under `method` whose metadata are of `kind` and name this message's `key`."""
        cursor: str | None = None
        for _ in range(PAGES):
            page = await self._page(method, {**where, "channel": self._block.channel, "limit": 200, "cursor": cursor})
            if not isinstance(page, AsyncSlackResponse):
                return page
            if found := _carrying(page.get("messages") or [], kind, key, str(getattr(message, key))):
                return found
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        return None

    # Any: the call's arguments.
    async def _page(self, method: str, arguments: dict[str, Any]) -> AsyncSlackResponse | Later | None:
        arguments = {name: value for name, value in arguments.items() if value is not None}
        try:
            return await self._client.api_call(
                method, http_verb="GET", params={**arguments, "include_all_metadata": "true"}
            )
        except SlackApiError as error:
            word, outcome = _api_error(error, self._clock.now())
            _LOG.info("cannot look for a post with %s in %s: %s", method, self._block.channel, word)
            return outcome if isinstance(outcome, Later) else None
        except Exception as error:  # whatever a socket or the SDK raises: the border lets values through only
            return Later(None, f"looking for the post: {type(error).__name__}")

    async def _call(self, call: Awaitable[AsyncSlackResponse]) -> tuple[Outcome, str]:
        """The outcome of one API call, and Slack's error word."""
        try:
            response = await call
        except SlackApiError as error:
            word, outcome = _api_error(error, self._clock.now())
            return outcome, word
        except SlackClientError as error:
            return Refused(redact(f"Slack: {error}")[:500], resend_minimal=True), ""
        except Exception as error:  # whatever a socket or the SDK raises: the border lets values through only
            return network_outcome(error), ""
        handle = {"channel": response.get("channel"), "ts": response.get("ts")}
        return Delivered(handle if all(handle.values()) else {}, response.status_code), ""


class Updates:
    """When `chat.update` was called in one workspace, by this process: as much as the last minute needs."""

    def __init__(self) -> None:
        self._calls: deque[datetime] = deque(maxlen=UPDATES)

    def count(self, now: datetime) -> None:
        """One more call."""
        self._calls.append(now)

    def wait(self, now: datetime, most: int) -> timedelta | None:
        """How long until fewer than `most` calls are less than a minute old; None when there are."""
        recent = [call for call in self._calls if call > now - MINUTE]
        return recent[-most] + MINUTE - now if len(recent) >= most else None


_PACES: Final[WeakKeyDictionary[Door, dict[str, Updates]]] = WeakKeyDictionary()
"""By token, for the notifiers of one door: they share the workspace's limit."""


class _At(SlackClock):
    """A clock that stands, as the SDK's verifier takes it."""

    def __init__(self, instant: datetime) -> None:
        self._instant = instant

    def now(self) -> float:
        return self._instant.timestamp()


class SlackWebhookNotifier:
    """An incoming webhook: posts when an incident opens and again when it is over."""

    def __init__(self, block: SlackWebhook, door: Door, clock: Clock) -> None:
        self._clock = clock
        url = block.url.get_secret_value()
        self._client = AsyncWebhookClient(url, session=door.session(), retry_handlers=[], logger=_LOG)
        self._client.proxy = proxy_for(url)

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """Blocks and text for `view`."""
        return render_slack(view, minimal=minimal, metadata=False)

    async def send(self, message: Message, handle: Handle | None) -> Outcome:
        """Post; there is nothing to change and nothing to find again."""
        try:
            response = await self._client.send_dict(dict(message.body))
        except Exception as error:  # whatever a socket or the SDK raises: the border lets values through only
            return network_outcome(error)
        if 200 <= response.status_code < 300:
            return Delivered({}, response.status_code)
        word = _webhook_word(response.body)
        return classify(word, response.status_code, response.headers, self._clock.now())

    async def find(self, message: Message) -> Delivered | Later | None:
        """A webhook cannot look: None."""
        return None

    async def close(self) -> None:
        """Nothing of its own: the session is the door's."""


def _api_error(error: SlackApiError, now: datetime) -> tuple[str, Outcome]:
    """Slack's word in an answer that the SDK took for an error, and what it means."""
    response = error.response
    data = getattr(response, "data", None)
    status = int(getattr(response, "status_code", 0) or getattr(response, "status", 0))
    word = str(data.get("error", "")) if isinstance(data, dict) else _webhook_word(str(data or ""))
    return word, classify(word, status, response.headers, now)


def _webhook_word(body: str) -> str:
    """The error word of a webhook's answer: plain text, or `{"error": …}`; shortened, for it goes into a reason."""
    text = body.strip()
    if text.startswith("{"):
        try:
            text = str(json.loads(text).get("error", text))
        except ValueError:
            return text[:200]
    return text[:200]


# Any: messages as Slack gives them.
def _carrying(messages: Sequence[dict[str, Any]], kind: str, key: str, wanted: str) -> dict[str, Any] | None:
    """The newest message with metadata of `kind` that name `wanted`; Slack lists a channel and a thread oppositely."""
    found = [one for one in messages if (one.get("metadata") or {}).get("event_type") == kind]
    named = [one for one in found if _payload(one).get(key) == wanted]
    return max(named, key=lambda one: float(one["ts"]), default=None)


def _payload(message: dict[str, Any]) -> dict[str, Any]:
    return (message.get("metadata") or {}).get("event_payload") or {}


def _now(message: Message) -> Standing | None:
    """How the incident stands, as the message itself says."""
    return from_payload(_payload(message.body))


def _handle(channel: str, ts: str, told: Standing | None) -> Handle:
    return {"channel": channel, "ts": ts, **({"told": to_payload(told)} if told else {})}


def _oldest(instant: datetime) -> dict[str, str]:
    return {"oldest": str((instant - LOOK_BACK).timestamp())}
