"""Spans of time as people write them on call: `30s`, `5m`, `1d12h`."""

import re
from datetime import timedelta
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer

LONGEST: Final = timedelta(days=366)
_UNITS: Final = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_TEXT: Final = re.compile(r"(?:(\d{1,9})(ms|[wdhms]))+", re.ASCII)
_BARE: Final = re.compile(r"\d{1,9}", re.ASCII)
_PART: Final = re.compile(r"(\d{1,9})(ms|[wdhms])", re.ASCII)


def read_span(source: Any) -> timedelta:  # Any: what a document holds, before it is checked
    """A span from a timedelta, seconds, or `1d12h`; up to 366 days. Raises ValueError with the way out."""
    match source:
        case timedelta():
            span = source
        case bool():
            raise ValueError(_WAY_OUT)
        case int() | float() if 0 <= source <= LONGEST.total_seconds():
            span = timedelta(seconds=source)
        case str() if _TEXT.fullmatch(source.strip()):
            parts = _PART.findall(source)
            span = sum((int(number) * _UNITS[unit] for number, unit in parts), timedelta())
        case str() if _BARE.fullmatch(source.strip()):
            number = source.strip()
            raise ValueError(f"{number} has no unit; write {number}s, {number}m or {number}h")
        case _:
            raise ValueError(_WAY_OUT)
    if not timedelta() <= span <= LONGEST:
        raise ValueError(f"a span from 0 to {LONGEST.days} days is needed")
    return span


def span_text(span: timedelta) -> str:
    """The span as `read_span` reads it, in milliseconds at the finest: `1d12h`, `0s`."""
    left, parts = round(span / _UNITS["ms"]), []
    for unit in ("d", "h", "m", "s", "ms"):
        number, left = divmod(left, _UNITS[unit] // _UNITS["ms"])
        parts += [f"{number}{unit}"] if number else []
    return "".join(parts) or "0s"


_WAY_OUT: Final = "a span is needed: seconds, or text such as 30s, 5m, 1d12h"

Span = Annotated[timedelta, BeforeValidator(read_span), PlainSerializer(span_text, return_type=str, when_used="json")]
"""A span in a definition: timedelta, seconds or text; in JSON it is text."""
