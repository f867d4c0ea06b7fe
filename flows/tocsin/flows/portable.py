"""Values as JSON that any database and any event carries: for showing, not for computing."""

import math
from collections.abc import Mapping
from typing import Any, Final

LONGEST: Final = 500
"""Characters of one text inside an event."""
_BIGGEST: Final = 2**63


def clean(text: str, longest: int = 2000) -> str:
    """`text` without what PostgreSQL or UTF-8 refuses (NUL, half surrogate pairs), cut at `longest` characters."""
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode()
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:longest]


def portable(value: Any, depth: int = 6) -> Any:  # Any: whatever a user passes, as whatever JSON shows it best
    """`value` as JSON; what JSON has no form for becomes its `repr`, cut short."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -_BIGGEST <= value < _BIGGEST else str(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return clean(value, 100_000)
    if depth and isinstance(value, Mapping):
        return {clean(str(key), LONGEST): portable(entry, depth - 1) for key, entry in value.items()}
    if depth and isinstance(value, list | tuple):
        return [portable(entry, depth - 1) for entry in value]
    if hasattr(value, "isoformat"):
        return clean(str(value.isoformat()), LONGEST)
    return clean(repr(value), LONGEST)


def small(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters (portable already) for an event: a value longer than LONGEST characters becomes its beginning."""
    return {name: _short(value) for name, value in parameters.items()}


def _short(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= LONGEST else f"{text[:LONGEST]}…"
