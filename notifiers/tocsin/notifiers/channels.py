"""From a stored block to the channel that speaks for it. Channels are kept until their block changes."""

from typing import assert_never

from tocsin.events.clock import Clock
from tocsin.notifiers.apprise import AppriseNotifier
from tocsin.notifiers.blocks import AnyBlock, Apprise, Email, PagerDuty, PagerDutyChanges, Slack, SlackWebhook, Webhook
from tocsin.notifiers.channel import Notifier
from tocsin.notifiers.email import EmailNotifier
from tocsin.notifiers.http import Door
from tocsin.notifiers.pagerduty import PagerDutyChangesNotifier, PagerDutyNotifier
from tocsin.notifiers.redact import guard_libraries
from tocsin.notifiers.registry import read_row
from tocsin.notifiers.slack import SlackNotifier, SlackWebhookNotifier
from tocsin.notifiers.tables import NotifierRow
from tocsin.notifiers.webhook import WebhookNotifier


def open_channel(block: AnyBlock, door: Door, clock: Clock) -> Notifier:
    """The channel for `block`; needs a running event loop. Raises Invalid when something for it is not installed."""
    match block:
        case Slack():
            return SlackNotifier(block, door, clock)
        case SlackWebhook():
            return SlackWebhookNotifier(block, door, clock)
        case PagerDuty():
            return PagerDutyNotifier(block, clock)
        case PagerDutyChanges():
            return PagerDutyChangesNotifier(block, clock)
        case Webhook():
            return WebhookNotifier(block, door, clock)
        case Email():
            return EmailNotifier(block)
        case Apprise():
            return AppriseNotifier(block)
        case _:
            assert_never(block)


class Channels:
    """The open channels of one event loop, over one door."""

    def __init__(self, clock: Clock, door: Door | None = None) -> None:
        guard_libraries()
        self._clock, self._door = clock, door or Door()
        self._open: dict[str, tuple[str, Notifier]] = {}

    async def get(self, row: NotifierRow) -> Notifier:
        """The channel of this row, opened anew when the row has changed. Raises Invalid when it cannot be read."""
        known, channel = self._open.get(row.name, ("", None))
        if channel is not None and known == _version(row):
            return channel
        opened = open_channel(read_row(row), self._door, self._clock)
        self._open[row.name] = (_version(row), opened)
        if channel is not None:
            await channel.close()
        return opened

    async def close(self) -> None:
        """Close every channel and the door."""
        for _, channel in self._open.values():
            await channel.close()
        self._open.clear()
        await self._door.close()


def _version(row: NotifierRow) -> str:
    return f"{row.kind} {row.updated.isoformat()} {row.secrets}"
