"""A tick wheel: many deadlines, few of them due.

second 41  [· · ·]        a dictionary from second to its deadlines, and a heap of the seconds:
second 42  [·]            filing one costs an append, taking the due ones costs what is due
second 57  [· ·]
"""

from collections import defaultdict
from collections.abc import Hashable
from heapq import heappop, heappush
from typing import Final, Generic, TypeVar

from tocsin.events.clock import Micros

T = TypeVar("T", bound=Hashable)

_SECOND: Final = 1_000_000


class Wheel(Generic[T]):
    """What is due when. One deadline an item: filing it again forgets the one before."""

    def __init__(self) -> None:
        self._due: dict[T, Micros] = {}
        self._slots: dict[int, list[tuple[Micros, T]]] = defaultdict(list)
        self._seconds: list[int] = []

    def __len__(self) -> int:
        return len(self._due)

    def file(self, item: T, due: Micros | None) -> None:
        """`item` is due at `due`, or (None) no more."""
        if due is None:
            self._due.pop(item, None)
            return
        if self._due.get(item) == due:
            return
        self._due[item] = due
        second = due // _SECOND
        if second not in self._slots:
            heappush(self._seconds, second)
        self._slots[second].append((due, item))

    def take(self, until: Micros) -> list[tuple[Micros, T]]:
        """The items that are due at or before `until`, the longest due first; they leave the wheel."""
        taken: list[tuple[Micros, T]] = []
        while self._seconds and self._seconds[0] * _SECOND <= until:
            due, later = self._split(self._seconds[0], until)
            taken += due
            if later:
                self._slots[self._seconds[0]] = later
                break
            del self._slots[heappop(self._seconds)]
        for _, item in taken:
            del self._due[item]
        return taken

    @property
    def next(self) -> Micros | None:
        """When the first item is due; None when there is none."""
        while self._seconds:
            if current := self._current(self._seconds[0]):
                return min(due for due, _ in current)
            del self._slots[heappop(self._seconds)]
        return None

    def _split(self, second: int, until: Micros) -> tuple[list[tuple[Micros, T]], list[tuple[Micros, T]]]:
        current = sorted(self._current(second), key=lambda filed: filed[0])
        return [one for one in current if one[0] <= until], [one for one in current if one[0] > until]

    def _current(self, second: int) -> list[tuple[Micros, T]]:
        """What was filed in a second and still stands, each once."""
        once = {item: due for due, item in self._slots[second] if self._due.get(item) == due}
        return [(due, item) for item, due in once.items()]
