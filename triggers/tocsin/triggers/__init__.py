"""When a rule fires: events, and the clock."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
    from tocsin.triggers.cron import Cron
    from tocsin.triggers.event import EventTrigger
    from tocsin.triggers.interval import Interval
    from tocsin.triggers.kinds import CompoundTrigger, SequenceTrigger
    from tocsin.triggers.metric import Metric, MetricTrigger
    from tocsin.triggers.rrule import RRule

__all__ = [
    "CompoundTrigger",
    "Cron",
    "EventTrigger",
    "Interval",
    "Metric",
    "MetricTrigger",
    "RRule",
    "SequenceTrigger",
]

__getattr__ = exports(
    __name__,
    {
        "CompoundTrigger": "kinds",
        "Cron": "cron",
        "EventTrigger": "event",
        "Interval": "interval",
        "Metric": "metric",
        "MetricTrigger": "metric",
        "RRule": "rrule",
        "SequenceTrigger": "kinds",
    },
)
