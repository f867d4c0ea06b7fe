"""Slack through slack-sdk: the only place that imports it. No retry handler: a retry is a row with a due time."""

import json
import re
from collections.abc import Awaitable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tocsin.events.clock import Clock
from tocsin.notifiers.blocks import Slack, SlackWebhook
from tocsin.notifiers.http import Door, network_outcome, proxy_for
from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome, Refused, retry_after
from tocsin.notifiers.redact import redact, redacted_logger
from tocsin.notifiers.slack_message import EVENT_TYPE, render_slack
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


class SlackNotifier:
    """A channel by bot token: posts once an incident, then changes that message."""

    def __init__(self, block: Slack, door: Door, clock: Clock) -> None:
        self._block, self._clock = block, clock
        self._client = AsyncWebClient(
            token=block.token.get_secret_value(),
            base_url=block.api_url,
            session=door.session(),
            retry_handlers=[],
            logger=_LOG,
        )
        self._client.proxy = proxy_for(block.api_url)

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """Blocks, text and metadata for `view`."""
        return render_slack(view, minimal=minimal, metadata=True)

    async def send(self, message: Message, handle: Handle | None) -> Outcome:
        """Change the incident's message when there is one, post it otherwise or when Slack will not change it."""
        if handle and message.action != "test":
            outcome, error = await self._call(self._update(message, handle))
            if error not in POST_ANEW:
                return outcome
        outcome, _ = await self._call(self._client.chat_postMessage(channel=self._block.channel, **message.body))
        return outcome

    async def find(self, message: Message) -> Delivered | Later | None:
        """Look through the channel's history for a message that carries this incident's id.

        Needs the channel's id and `channels:history`; without them nothing can be found, and None is the answer.
        """
        if not _CHANNEL_ID.fullmatch(self._block.channel):
            return None
        oldest = str((message.since - LOOK_BACK).timestamp())
        cursor: str | None = None
        for _ in range(PAGES):
            page = await self._history(oldest, cursor)
            if not isinstance(page, AsyncSlackResponse):
                return page
            if found := _of_incident(page.get("messages") or [], str(message.incident)):
                return Delivered({"channel": self._block.channel, "ts": found}, page.status_code)
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        return None

    async def close(self) -> None:
        """Nothing of its own: the session is the door's."""

    def _update(self, message: Message, handle: Handle) -> Awaitable[AsyncSlackResponse]:
        body = {"blocks": [], **message.body}
        return self._client.chat_update(channel=handle["channel"], ts=handle["ts"], **body)

    async def _history(self, oldest: str, cursor: str | None) -> AsyncSlackResponse | Later | None:
        try:
            return await self._client.conversations_history(
                channel=self._block.channel, oldest=oldest, cursor=cursor, limit=200, include_all_metadata=True
            )
        except SlackApiError as error:
            word, outcome = _api_error(error, self._clock.now())
            _LOG.info("cannot look for a post in the history of %s: %s", self._block.channel, word)
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
def _of_incident(messages: list[dict[str, Any]], incident: str) -> str | None:
    """The `ts` of the newest message that carries this incident's id."""
    for message in messages:
        metadata = message.get("metadata") or {}
        payload = metadata.get("event_payload") or {}
        if metadata.get("event_type") == EVENT_TYPE and payload.get("incident") == incident:
            return str(message["ts"])
    return None
