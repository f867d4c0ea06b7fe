"""What is counted of telling people, as values. Figures under one key are added up, and never taken back.

A histogram is a figure for each of its buckets: the label is the bucket's bound, and nothing is counted twice.
"""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, get_args

from tocsin.notifiers.suppression import Kind as Reason

Counter = Literal["attempts", "dead", "suppressed", "flapping", "escalated"]
Histogram = Literal["told", "waited"]
Kind = Counter | Histogram

BOUNDS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0)
BEYOND: Final = "+Inf"
BUCKETS: Final = (*(f"{bound:g}" for bound in BOUNDS_S), BEYOND)
"""The buckets by their labels: seconds, from a tenth to four hours, and whatever takes longer."""

OUTCOMES: Final = ("delivered", "later", "refused", "unknown")
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
_TOLD_OF: Final[tuple[Counter, ...]] = ("flapping", "escalated")


class Figure(NamedTuple):
    """So many of a kind, of one receiver (none: of no receiver in particular), and how long they took together."""

    kind: Kind
    receiver: str
    label: str
    times: int = 1
    total_ms: int = 0


def attempted(receiver: str, outcome: str, waited_ms: int) -> list[Figure]:
    """An attempt, and how long it was due before its turn came."""
    return [Figure("attempts", receiver, outcome), _observed("waited", receiver, waited_ms)]


def told(receiver: str, took_ms: int) -> Figure:
    """A receiver has heard of an incident for the first time, so long after its event."""
    return _observed("told", receiver, took_ms)


def dead(receiver: str) -> Figure:
    """A delivery was given up."""
    return Figure("dead", receiver, "")


def moved(facts: Iterable[str], reason: Reason | None, storming: int) -> list[Figure]:
    """What an incident has told of itself, as far as it is counted: that it is kept quiet, by what; flaps; escalates.

    For `storming` receivers a storm speaks from now on.
    """
    names = list(facts)
    found = [Figure("suppressed", "", reason)] if reason is not None and "suppressed" in names else []
    found += [Figure("suppressed", "", "storm", storming)] if storming else []
    return found + [Figure(kind, "", "", names.count(kind)) for kind in _TOLD_OF if kind in names]


def summed(figures: Iterable[Figure]) -> list[Figure]:
    """One figure for each key, in the order of the keys."""
    found: dict[tuple[str, str, str], Figure] = {}
    for one in figures:
        known = found.get(one[:3])
        more = one if known is None else Figure(*one[:3], known.times + one.times, known.total_ms + one.total_ms)
        found[one[:3]] = more
    return [found[key] for key in sorted(found)]


def bucket(took_ms: int) -> str:
    """The label of the narrowest bucket that a span fits in."""
    return next((f"{bound:g}" for bound in BOUNDS_S if took_ms <= bound * 1000), BEYOND)


def _observed(kind: Histogram, receiver: str, took_ms: int) -> Figure:
    took_ms = max(0, took_ms)  # clocks of two machines
    return Figure(kind, receiver, bucket(took_ms), 1, took_ms)
