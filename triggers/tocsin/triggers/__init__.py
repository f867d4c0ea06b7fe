"""When a rule fires: events, and the clock; and the ways in for what happens elsewhere."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
    from tocsin.triggers.cron import Cron
    from tocsin.triggers.event import EventTrigger
    from tocsin.triggers.hook import (
        GitHubSignature,
        Hook,
        PagerDutySignature,
        SharedSecret,
        SlackSignature,
        StandardWebhook,
    )
    from tocsin.triggers.interval import Interval
    from tocsin.triggers.kinds import CompoundTrigger, SequenceTrigger
    from tocsin.triggers.mapping import Mapping
    from tocsin.triggers.metric import Metric, MetricTrigger
    from tocsin.triggers.rrule import RRule
    from tocsin.triggers.source import KafkaSource

__all__ = [
    "CompoundTrigger",
    "Cron",
    "EventTrigger",
    "GitHubSignature",
    "Hook",
    "Interval",
    "KafkaSource",
    "Mapping",
    "Metric",
    "MetricTrigger",
    "PagerDutySignature",
    "RRule",
    "SequenceTrigger",
    "SharedSecret",
    "SlackSignature",
    "StandardWebhook",
]

__getattr__ = exports(
    __name__,
    {
        "CompoundTrigger": "kinds",
        "Cron": "cron",
        "EventTrigger": "event",
        "GitHubSignature": "hook",
        "Hook": "hook",
        "Interval": "interval",
        "KafkaSource": "source",
        "Mapping": "mapping",
        "Metric": "metric",
        "MetricTrigger": "metric",
        "PagerDutySignature": "hook",
        "RRule": "rrule",
        "SequenceTrigger": "kinds",
        "SharedSecret": "hook",
        "SlackSignature": "hook",
        "StandardWebhook": "hook",
    },
)
