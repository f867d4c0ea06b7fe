"""Telling people: notifiers, incidents, and the outbox that forgets nobody."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
    from tocsin.notifiers.blocks import Apprise, Email, PagerDuty, PagerDutyChanges, Slack, SlackWebhook, Webhook
    from tocsin.notifiers.inhibition import Inhibition
    from tocsin.notifiers.matchers import Matcher
    from tocsin.notifiers.registry import get_notifier, list_notifiers, put_notifier, remove_notifier
    from tocsin.notifiers.route import Escalate, Flap, Route
    from tocsin.notifiers.silence import Silence
    from tocsin.notifiers.vault import Secret, put_secret
    from tocsin.notifiers.windows import MuteWindow

__all__ = [
    "Apprise",
    "Email",
    "Escalate",
    "Flap",
    "Inhibition",
    "Matcher",
    "MuteWindow",
    "PagerDuty",
    "PagerDutyChanges",
    "Route",
    "Secret",
    "Silence",
    "Slack",
    "SlackWebhook",
    "Webhook",
    "get_notifier",
    "list_notifiers",
    "put_notifier",
    "put_secret",
    "remove_notifier",
]

__getattr__ = exports(
    __name__,
    {
        "Apprise": "blocks",
        "Email": "blocks",
        "Escalate": "route",
        "Flap": "route",
        "Inhibition": "inhibition",
        "Matcher": "matchers",
        "MuteWindow": "windows",
        "PagerDuty": "blocks",
        "PagerDutyChanges": "blocks",
        "Route": "route",
        "Secret": "vault",
        "Silence": "silence",
        "Slack": "blocks",
        "SlackWebhook": "blocks",
        "Webhook": "blocks",
        "get_notifier": "registry",
        "list_notifiers": "registry",
        "put_notifier": "registry",
        "put_secret": "vault",
        "remove_notifier": "registry",
    },
)
