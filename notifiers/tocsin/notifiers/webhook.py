"""The generic webhook: signed by Standard Webhooks, the delivery's id as `webhook-id` at every retry."""

import json
from datetime import datetime
from typing import Final, assert_never

from standardwebhooks import Webhook as Signer

from tocsin.events.clock import Clock
from tocsin.notifiers.blocks import Webhook
from tocsin.notifiers.http import Answer, Door, Forbidden, Unanswered, Unsent
from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome, Refused, Unknown, retry_after
from tocsin.notifiers.redact import redact
from tocsin.notifiers.view import Message, View
from tocsin.notifiers.webhook_message import render_webhook

RESEND_MINIMAL: Final = frozenset({400, 413, 422})
GONE: Final = 410


def classify(answer: Answer, now: datetime) -> Outcome:
    """What a receiver's answer means: 2xx alone is success, a redirect or 410 is the end, anything else is retried."""
    if 200 <= answer.status < 300:
        return Delivered({}, answer.status)
    reason = redact(f"webhook: HTTP {answer.status} {answer.body[:200]}".strip())[:500]
    if 300 <= answer.status < 400:
        return Refused(f"{reason} (redirects are not followed)", status=answer.status)
    if answer.status == GONE:
        return Refused(reason, status=answer.status)
    if answer.status in RESEND_MINIMAL:
        return Refused(reason, resend_minimal=True, status=answer.status)
    return Later(retry_after(answer.headers, now), reason, answer.status)


class WebhookNotifier:
    """Any HTTP endpoint."""

    def __init__(self, block: Webhook, door: Door, clock: Clock) -> None:
        self._block, self._door, self._clock = block, door, clock
        self._signer = Signer(block.secret.get_secret_value())

    def render(self, view: View, *, minimal: bool = False) -> Message:
        """The JSON body for `view`."""
        return render_webhook(view, minimal=minimal)

    async def send(self, message: Message, handle: Handle | None) -> Outcome:
        """POST it, once, through the guarded door."""
        body = json.dumps(message.body)
        headers = {"content-type": "application/json", **self._signed(message, body)}
        url, allow = self._block.url.get_secret_value(), self._block.allow_private
        result = await self._door.post(url, body.encode(), headers, allow=allow)
        match result:
            case Answer():
                return classify(result, self._clock.now())
            case Forbidden(reason):
                return Refused(f"webhook: {reason}")
            case Unsent(reason):
                return Later(None, f"webhook: {reason}")
            case Unanswered(reason):
                return Unknown(f"webhook: {reason}")
            case _:
                assert_never(result)

    async def find(self, message: Message) -> Delivered | Later | None:
        """Not needed: the receiver knows the `webhook-id`."""
        return None

    async def close(self) -> None:
        """Nothing of its own: the connections are the door's."""

    def _signed(self, message: Message, body: str) -> dict[str, str]:
        now, delivery = self._clock.now(), str(message.delivery)
        return {
            "webhook-id": delivery,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(delivery, now, body),
        }
