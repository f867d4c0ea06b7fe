"""Telling people: notifiers, incidents, and the outbox that forgets nobody."""

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
