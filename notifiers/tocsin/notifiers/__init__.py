"""Telling people: notifiers, incidents, and the outbox that forgets nobody."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
    from tocsin.notifiers.blocks import PagerDuty, Slack, SlackWebhook, Webhook
    from tocsin.notifiers.registry import get_notifier, list_notifiers, put_notifier, remove_notifier

__all__ = [
    "PagerDuty",
    "Slack",
    "SlackWebhook",
    "Webhook",
    "get_notifier",
    "list_notifiers",
    "put_notifier",
    "remove_notifier",
]

__getattr__ = exports(
    __name__,
    {
        "PagerDuty": "blocks",
        "Slack": "blocks",
        "SlackWebhook": "blocks",
        "Webhook": "blocks",
        "get_notifier": "registry",
        "list_notifiers": "registry",
        "put_notifier": "registry",
        "remove_notifier": "registry",
    },
)
