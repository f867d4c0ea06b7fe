"""The kinds of schedules, and reading one from JSON."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.triggers.cron import Cron
from tocsin.triggers.interval import Interval
from tocsin.triggers.rrule import RRule
from tocsin.triggers.timetable import Timetable

__all__ = ["Cron", "Interval", "RRule", "Timetable", "from_dict"]

_COMMON: Final = ("timezone", "start", "end", "exdates", "jitter")
_FIELDS: Final[Mapping[str, tuple[str, ...]]] = {
    "cron": ("day_or",),
    "interval": ("anchor", "anchor_date"),
    "rrule": (),
}


def from_dict(spec: Mapping[str, Any]) -> Timetable:  # Any: JSON
    """The schedule that a JSON object describes, as `to_dict` writes it.

    One of the keys `cron` (line), `interval` (seconds) and `rrule` (text) says which kind it is; further keys are
    `timezone`, `start`, `end`, `exdates` (ISO texts), `jitter` (seconds), for cron `day_or`, for an interval `anchor`.
    Raises `Invalid`.
    """
    kinds = [kind for kind in _FIELDS if kind in spec]
    if len(kinds) != 1:
        raise Invalid(f"schedule: one of the keys {', '.join(_FIELDS)} is needed, there are {len(kinds)}")
    kind = kinds[0]
    allowed = (kind, *_COMMON, *_FIELDS[kind])
    if unknown := sorted(str(key) for key in spec if key not in allowed):
        raise Invalid(f"schedule: unknown {', '.join(unknown)[:80]}; a {kind} schedule has {', '.join(allowed)}")
    return _READERS[kind](spec, _common(spec))


def _common(spec: Mapping[str, Any]) -> dict[str, Any]:
    common: dict[str, Any] = {name: time_of(spec[name], name) for name in ("start", "end") if spec.get(name)}
    if spec.get("timezone"):
        common["timezone"] = spec["timezone"]
    if jitter := spec.get("jitter"):
        common["jitter"] = _span(jitter, "jitter")
    if exdates := spec.get("exdates"):
        if not isinstance(exdates, list | tuple):
            raise Invalid("exdates: a list of ISO dates or times")
        common["exdates"] = tuple(_date(exdate) for exdate in exdates)
    return common


def _cron(spec: Mapping[str, Any], common: dict[str, Any]) -> Timetable:
    day_or = spec.get("day_or", True)
    if not isinstance(day_or, bool):
        raise Invalid(f"day_or: {day_or!r} is neither true nor false")
    return Cron(spec["cron"], day_or=day_or, **common)


def _interval(spec: Mapping[str, Any], common: dict[str, Any]) -> Timetable:
    seconds = spec["interval"]
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 < seconds < 1e10:
        raise Invalid(f"interval: {str(seconds)[:40]!r} is no number of seconds")
    anchor = spec.get("anchor") or spec.get("anchor_date")
    return Interval(timedelta(seconds=seconds), anchor=time_of(anchor, "anchor") if anchor else None, **common)


def _rrule(spec: Mapping[str, Any], common: dict[str, Any]) -> Timetable:
    return RRule(spec["rrule"], **common)


_READERS: Final[Mapping[str, Callable[[Mapping[str, Any], dict[str, Any]], Timetable]]] = {
    "cron": _cron,
    "interval": _interval,
    "rrule": _rrule,
}


def _span(seconds: object, name: str) -> timedelta:
    if isinstance(seconds, timedelta):
        return seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < 1e10:
        raise Invalid(f"{name}: {str(seconds)[:40]!r} is no number of seconds")
    return timedelta(seconds=seconds)


def time_of(value: object, name: str) -> datetime:
    """The ISO text as a datetime, naive without an offset. Raises `Invalid` that says what `name` is."""
    try:
        return value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError as error:
        raise Invalid(f"{name}: {str(value)[:40]!r} is no ISO time such as 2026-03-01T09:00:00") from error


def _date(value: object) -> date:
    text = str(value)
    if isinstance(value, date):
        return value
    return date.fromisoformat(text) if len(text) == 10 and text.count("-") == 2 else time_of(value, "exdates")
