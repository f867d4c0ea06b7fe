"""Values as JSON that any database and any event carries: for showing, not for computing."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

LONGEST: Final = 500
"""Characters of one text inside an event."""
MASK: Final = "********"
_BIGGEST: Final = 2**63
_PASSWORD_IN_URL: Final = re.compile(r"(://[^:/@\s]*:)[^@\s]+(?=@)")
_SECRET_NAME: Final = re.compile(r"passw|secret|token|api_?key|credential", re.IGNORECASE)
_covers: list[Callable[[str], str]] = []


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


def masked(text: str) -> str:
    """`text` with the passwords of addresses in it covered, and the secrets that this process knows."""
    text = _PASSWORD_IN_URL.sub(rf"\1{MASK}", text) if "://" in text else text
    for covering in _covers:
        text = covering(text)
    return text


def cover(covering: Callable[[str], str]) -> None:
    """From now on `masked` passes every text through `covering`, too: the redactor, once there are secrets to know."""
    if covering not in _covers:
        _covers.append(covering)


def shown(value: Any, name: str = "") -> Any:
    """A portable value with what looks like a secret covered: by the name it stands under, or inside an address."""
    if isinstance(value, str):
        return MASK if _SECRET_NAME.search(name) else masked(value)
    if isinstance(value, dict):
        return {key: shown(entry, key) for key, entry in value.items()}
    return [shown(entry, name) for entry in value] if isinstance(value, list) else value


def small(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters (portable already) for an event: secrets covered, values cut after LONGEST characters."""
    return {name: _short(shown(value, name)) for name, value in parameters.items()}


def _short(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else repr(value)
    return value if len(text) <= LONGEST else f"{text[:LONGEST]}…"
