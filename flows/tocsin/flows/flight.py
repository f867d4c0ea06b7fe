"""Single flight: of all that want the result of one key, in any process, one computes it and the others wait.

    A  take ── computes ─────────── end (result there)
    B    taken: looks, looks, looks ───────┴─ takes the result
    C      taken: looks ─── A's lease is over, or A failed: take ── computes

Nobody waits in a circle. Whoever holds keys (a cached task that calls cached tasks) waits only for keys that sort
behind all of his own, so along any chain of waiters the keys grow; for another one, and for his own, he does not wait
but computes it himself. What this cannot see is a holder that waits for something that is no key: a deployment that
it has started, a slot of a limit. So nobody waits for longer than PATIENCE. And a task that is no coroutine, called in
an event loop, does not wait at all: the loop would stand still.
"""

import asyncio
from contextvars import ContextVar
from datetime import timedelta
from typing import Final

PATIENCE: Final = timedelta(hours=1)
"""After so long a waiter computes the result himself."""

FIRST_S: Final = 0.005
LONGEST_S: Final = 0.03
"""From look to look of a waiter."""

held: ContextVar[frozenset[str]] = ContextVar("tocsin_flights", default=frozenset())
"""The keys that the code at hand computes for, its own and those of the tasks around it."""


def may_wait(key: str, own: frozenset[str], waited_s: float) -> bool:
    """Whether to wait for the one who computes `key`, when those around compute `own`; else compute it here."""
    return all(mine < key for mine in own) and waited_s < PATIENCE.total_seconds()


def next_pause(pause_s: float) -> float:
    """Seconds until the next look, after `pause_s` until this one."""
    return min(pause_s * 1.5, LONGEST_S)


def in_a_loop() -> bool:
    """Whether a wait here would hold up an event loop, perhaps the one in which the result is being computed."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
