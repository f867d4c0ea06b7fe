"""What came of an attempt at an action."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any


@dataclass(frozen=True)
class Executed:
    """It is done; `details` go into the outcome's event. Any: JSON."""

    details: dict[str, Any]


@dataclass(frozen=True)
class Failed:
    """It is not done and never will be."""

    reason: str
    details: dict[str, Any]


@dataclass(frozen=True)
class Again:
    """It is not done, as far as anybody knows; another attempt may succeed. `after`: how long the other side asks."""

    reason: str
    after: timedelta | None = None


Attempt = Executed | Failed | Again
