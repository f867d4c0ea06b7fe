"""The kinds of schedules, and reading one from JSON."""

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from itertools import islice
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.triggers.cron import Cron
from tocsin.triggers.interval import Interval
from tocsin.triggers.rrule import RRule
from tocsin.triggers.timetable import MOST_EXDATES, Timetable

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
    if not isinstance(spec, Mapping):
        raise Invalid(f"schedule: {spec!r:.40} is no object with one of the keys {', '.join(_FIELDS)}")
    kinds = [kind for kind in _FIELDS if kind in spec]
    if len(kinds) != 1:
        raise Invalid(f"schedule: one of the keys {', '.join(_FIELDS)} is needed, there are {len(kinds)}")
    kind = kinds[0]
    allowed = (kind, *_COMMON, *_FIELDS[kind])
    if unknown := list(islice((f"{key!s:.40}" for key in spec if key not in allowed), 3)):
        raise Invalid(f"schedule: unknown {', '.join(sorted(unknown))}; a {kind} schedule has {', '.join(allowed)}")
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
        common["exdates"] = tuple(_date(exdate) for exdate in exdates[: MOST_EXDATES + 1])
    return common


def _cron(spec: Mapping[str, Any], common: dict[str, Any]) -> Timetable:
    return Cron(spec["cron"], day_or=spec.get("day_or", True), **common)


def _interval(spec: Mapping[str, Any], common: dict[str, Any]) -> Timetable:
    anchor = spec.get("anchor") or spec.get("anchor_date")
    return Interval(_span(spec["interval"], "interval"), anchor=time_of(anchor, "anchor") if anchor else None, **common)


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
        # The digits of a whole number may be too many to be written.
        shown = "that" if type(seconds) is int else f"{str(seconds)[:40]!r}"
        raise Invalid(f"{name}: {shown} is no number of seconds")
    return timedelta(seconds=seconds)


def time_of(value: object, name: str) -> datetime:
    """The ISO text as a datetime, naive without an offset. Raises `Invalid` that says what `name` is."""
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value if isinstance(value, str) else "")
    except ValueError as error:
        shown = f"{value[:40]!r}" if isinstance(value, str) else type(value).__name__
        raise Invalid(f"{name}: {shown} is no ISO time such as 2026-03-01T09:00:00") from error


def _date(value: object) -> date:
    if isinstance(value, date):
        return value
    found = time_of(value, "exdates")
    return found.date() if isinstance(value, str) and len(value) == 10 and value.count("-") == 2 else found
