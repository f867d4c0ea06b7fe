"""When a rule fires: events, and the clock."""

from tocsin.triggers.cron import Cron
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.interval import Interval
from tocsin.triggers.rrule import RRule

__all__ = ["Cron", "EventTrigger", "Interval", "RRule"]
