"""How much may still come: a bucket of tokens that fills by itself."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

_MINUTE_S: Final = 60


@dataclass(frozen=True, slots=True)
class Allowance:
    """`tokens` were left at `at`; a whole minute's may be saved up."""

    tokens: float
    at: datetime


def take(left: Allowance | None, now: datetime, per_minute: int) -> tuple[Allowance, float]:
    """What is left after one more, and how many seconds to wait first (0: it may come, and is counted).

    None: nothing has come yet. A clock that is set back gives nothing and takes nothing.
    """
    rate = per_minute / _MINUTE_S
    gone = max(0.0, (now - left.at).total_seconds()) if left else 0.0
    tokens = min(float(per_minute), left.tokens + gone * rate) if left else float(per_minute)
    if tokens < 1:
        return Allowance(tokens, now), (1 - tokens) / rate
    return Allowance(tokens - 1, now), 0.0
