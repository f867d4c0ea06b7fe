"""Spreading ticks: by how much later than its instant a tick is sent, the same in every process and at every try.

── at ───── sent ──────────── next at ────▶        at <= sent < min(at + jitter, next at)

Ticks keep their order, their ids and their scheduled times; only the moment of sending moves.
"""

from datetime import datetime
from functools import partial
from typing import Final

from tocsin.events.ids import tick_id
from tocsin.triggers.due import Sending, at_once
from tocsin.triggers.timetable import Timetable

_PARTS: Final = 1_000_000


def sending(schedule: Timetable, slug: str) -> Sending:
    """When the tick of an occurrence of the schedule `slug` is sent."""
    return partial(_spread, schedule, slug) if schedule.jitter else at_once


def next_sending(schedule: Timetable, slug: str, after: datetime) -> datetime | None:
    """When the tick of the first occurrence after `after` is sent; None when there is none."""
    upcoming = next(schedule.occurrences(after), None)
    return sending(schedule, slug)(upcoming) if upcoming else None


def _spread(schedule: Timetable, slug: str, at: datetime) -> datetime:
    following = next(schedule.occurrences(at), None)
    room = min(schedule.jitter, following - at) if following else schedule.jitter
    return at + room * (tick_id(slug, at).int % _PARTS) // _PARTS
