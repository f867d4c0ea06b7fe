"""How often a receiver may be spoken to: decisions on instants, no waiting. Pure.

A receiver's pace is one instant, `free`: when it may be spoken to next. Each message moves it on by a step; messages
that come together may go together, as many as `burst`:

```text
burst 3   message   1 2 3 . . . 4 . . . 5        one step apart once the burst is used up
          free    ──┴─┴─┴──────▶                 never more than `per_minute` in any 60 s
```
"""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `per_minute` in any 60 s; `burst` of them may go at once."""

    per_minute: int
    burst: int = 1

    @property
    def step(self) -> timedelta:
        """From one message to the next when there are more than the burst."""
        return timedelta(seconds=60 / max(self.per_minute - self.burst, 1))


@dataclass(frozen=True, slots=True)
class Turn:
    """How many messages may go now, and when the next one may (`free`)."""

    count: int
    free: datetime


def turn(rate: Rate, free: datetime | None, now: datetime, wanted: int) -> Turn:
    """How many of `wanted` messages may go at `now`, when the receiver was free from `free` on (None: always)."""
    step = rate.step
    spare = step * (rate.burst - 1)
    instant = now - spare if free is None else max(free, now - spare)
    count = 0
    while count < wanted and instant <= now:
        instant += step
        count += 1
    return Turn(count, instant)


def rate_for(own: Rate | None, per_minute: object) -> Rate | None:
    """The rate of a notifier: its kind's `own`, or that of its field `per_minute` with a burst of a sixth of it."""
    if isinstance(per_minute, int) and per_minute > 0:
        return Rate(per_minute, max(per_minute // 6, 1))
    return own
