"""What time it is at the broker at least, whatever our own wall clock says. Pure: values of a monotonic clock come in.

The broker stamps what it takes (LogAppendTime), and its answer carries the stamp:

    ours     asked ─────────────────────▶ answered        answered ≥ when it was stamped ≥ asked
    broker            stamp (ms)                          stamp − answered ≤ its clock − ours ≤ stamp + 1 ms − asked

Of several answers the highest lower bound holds, until an upper one falls below it: then its clock has been set back.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Final

import msgspec

from tocsin.events.clock import Micros

WINDOW: Final[Micros] = 2_000_000
LATELY: Final[Micros] = 500_000
FRESH: Final[Micros] = 10_000_000
TOGETHER: Final[Micros] = 40_000
"""Answers that come within this time are kept as one."""

SKEW: Final[Micros] = 1_000_000
"""By how much a broker's clock may be behind the others, or our wall clock, while nothing better is known of it."""

MARGIN: Final[Micros] = 5_000
"""How long a record that is stamped may take to become visible, besides what our own took."""

DRIFT: Final = 1_000
"""One part in so many by which two clocks may run apart."""

MS: Final[Micros] = 1_000


class Answer(msgspec.Struct):
    """What an answer proves: broker − ours lies between `low` and `high`; `trip`: how long it took (all in µs)."""

    at: Micros
    low: Micros
    high: Micros
    trip: Micros


class BrokerTime:
    """The clocks of the brokers, from the answers of those that write to them."""

    def __init__(self) -> None:
        self._answers: dict[int, deque[Answer]] = {}
        self._set_back: dict[int, Micros] = {}
        self._under_way: dict[int, dict[object, Micros]] = {}
        self.stamps = True

    @contextmanager
    def writing(self, node: int, asked: Micros) -> Iterator[None]:
        """While this lasts, what broker `node` was sent at `asked` may be stamped and not visible."""
        under_way, this = self._under_way.setdefault(node, {}), object()
        under_way[this] = asked
        try:
            yield
        finally:
            del under_way[this]

    def unanswered(self) -> dict[int, Micros]:
        """When the first of our writes that are still under way was sent, by broker."""
        return {node: min(writes.values()) for node, writes in self._under_way.items() if writes}

    def note(self, node: int, asked: Micros, answered: Micros, stamp: Micros | None) -> None:
        """Broker `node` has stamped what we sent at `asked` (None: it does not stamp), and we know it at `answered`."""
        self.stamps = stamp is not None
        if stamp is None:
            return
        new = Answer(answered, stamp - answered, stamp + MS - asked, answered - asked)
        kept = self._answers.setdefault(node, deque())
        if any(new.high < _low(one, answered) for one in kept):
            self._set_back[node] = answered
            kept.clear()
        if kept and answered - kept[-1].at < TOGETHER:
            last = kept[-1]
            last.low, last.high = max(last.low, new.low), min(last.high, new.high)
            last.trip = max(last.trip, new.trip)
        else:
            kept.append(new)
        while len(kept) > 1 and kept[0].at < answered - WINDOW:
            kept.popleft()

    def reached(
        self, nodes: Iterable[int], asked: Micros, unanswered: Mapping[int, Micros] | None = None
    ) -> dict[int, Micros]:
        """Up to when all that each of `nodes` had stamped was visible to a question put at `asked` or later.

        In the broker's time, less what our own answers took lately, for a record becomes visible only when it lies on
        all replicas. Left out while nothing is known. A node that is not known is taken for the last of those that
        are, and a second behind it. Our own writes that were `unanswered` then are not reached, however long they take.
        """
        known = {node: self._offset(node, asked) for node in self._answers}
        fresh = {node: offset for node, offset in known.items() if offset is not None}
        if not fresh:
            return {}
        rest = min(fresh.values()) - SKEW
        since = {node: min(asked, (unanswered or {}).get(node, asked)) for node in nodes}
        return {node: (then + fresh.get(node, rest)) // MS * MS - 1 for node, then in since.items()}

    def _offset(self, node: int, asked: Micros) -> Micros | None:
        answers = self._answers[node]
        if not answers or answers[-1].at < asked - FRESH:
            return None
        recent = [one for one in answers if one.at >= asked - WINDOW] or [answers[-1]]
        margin = MARGIN + max(one.trip for one in recent if one.at >= recent[-1].at - LATELY)
        if self._set_back.get(node, asked - FRESH) > asked - FRESH:
            margin += SKEW
        return max(_low(one, asked) for one in recent) - margin


def _low(answer: Answer, now: Micros) -> Micros:
    """The lower bound as it stands `now`."""
    return answer.low - (now - answer.at) // DRIFT
