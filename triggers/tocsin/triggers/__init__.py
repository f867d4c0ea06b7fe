"""When a rule fires: events, and the clock."""

from typing import TYPE_CHECKING

from tocsin.events.lazy import exports

if TYPE_CHECKING:
    from tocsin.triggers.cron import Cron
    from tocsin.triggers.event import EventTrigger
    from tocsin.triggers.interval import Interval
    from tocsin.triggers.rrule import RRule

__all__ = ["Cron", "EventTrigger", "Interval", "RRule"]

__getattr__ = exports(
    __name__,
    {
        "Cron": "cron",
        "EventTrigger": "event",
        "Interval": "interval",
        "RRule": "rrule",
    },
)
