"""A schedule as a person writes it in one line: `0 9 * * MON-FRI`, `every 90m`, `FREQ=WEEKLY;BYDAY=MO`, JSON."""

import json
import re
from datetime import datetime, timedelta
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.triggers.schedules import from_dict
from tocsin.triggers.timetable import Timetable

_SPAN: Final = re.compile(r"(?:every\s+)?((?:\d{1,9}\s*[wdhms]\s*)+)", re.ASCII | re.IGNORECASE)
_UNITS: Final = {"w": "weeks", "d": "days", "h": "hours", "m": "minutes", "s": "seconds"}


def written(text: str, *, timezone: str | None = None, start: datetime | None = None) -> Timetable | None:
    """The schedule that `text` says, or None when it says none: a single word, such as the slug of one on record.

    A cron line, an interval (`90s`, `1d12h`, `every 15m`), RRULE lines (with `\\n` between them as two characters, too)
    or a JSON object. `start` is the DTSTART of a rule that has none. Raises Invalid.
    """
    spec = _spec(text.strip())
    if spec is None:
        return None
    if timezone and spec.get("timezone", timezone) != timezone:
        raise Invalid(f"timezone: {timezone!r}, but the schedule says {spec['timezone']!r}; leave one of them out")
    if timezone:
        spec["timezone"] = timezone
    if start and "rrule" in spec and "DTSTART" not in str(spec["rrule"]).upper():
        spec.setdefault("start", start)
    return from_dict(spec)


def _spec(text: str) -> dict[str, Any] | None:  # Any: JSON
    if text.startswith("{"):
        return _object(text)
    if "FREQ=" in text.upper():
        return {"rrule": text.replace("\\n", "\n")}
    if span := _SPAN.fullmatch(text):
        return {"interval": _length(span[1])}
    return {"cron": text} if text.startswith("@") or len(text.split()) != 1 else None


def _object(text: str) -> dict[str, Any]:  # Any: JSON
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"schedule: this JSON cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise Invalid("schedule: a JSON object is needed")
    return found


def _length(text: str) -> timedelta:
    parts = re.findall(r"(\d+)\s*([a-z])", text.lower())
    try:
        return sum((timedelta(**{_UNITS[unit]: int(number)}) for number, unit in parts), timedelta())
    except OverflowError as error:
        raise Invalid(f"interval: {text[:40]!r} is too long") from error
