"""Two versions of automations on the same events: the firings that only one of them has. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import msgspec

from tocsin.automations.simulation import Simulated

Side = Literal["automations", "against"]


@dataclass(frozen=True)
class Compared:
    """What two simulations do not share, by time; `both` is how many firings they do."""

    only: list[tuple[Side, Simulated]]
    both: int


def compare(given: Iterable[Simulated], against: Iterable[Simulated]) -> Compared:
    """The firings that only one side has; they are the same when all that is told of them is."""
    sides: dict[Side, list[Simulated]] = {"automations": list(given), "against": list(against)}
    counts = {side: Counter(map(_identity, firings)) for side, firings in sides.items()}
    shared = counts["automations"] & counts["against"]
    only: list[tuple[Side, Simulated]] = [
        (side, firing) for side, firings in sides.items() for firing in _beyond(firings, shared)
    ]
    return Compared(sorted(only, key=lambda one: one[1].at), shared.total())


def _beyond(firings: Iterable[Simulated], shared: Counter[bytes]) -> Iterator[Simulated]:
    """The firings of one side without those that the other has as well."""
    left = shared.copy()
    for firing in firings:
        identity = _identity(firing)
        if left[identity] > 0:
            left[identity] -= 1
        else:
            yield firing


def _identity(firing: Simulated) -> bytes:
    return msgspec.json.encode(firing.to_json(), order="sorted")
