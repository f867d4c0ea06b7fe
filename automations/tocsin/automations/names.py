"""Event names and the patterns that fit them: exact, `prefix*`, other patterns, any.

Which shelves a name belongs to is remembered until a pattern that fits it comes or goes.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final

from tocsin.automations.shelf import Shelf
from tocsin.events.labels import name_matches, name_test

REMEMBERED_NAMES: Final = 4_096
ANY: Final = ""
"""The pattern of an interest that names no event."""


class Names:
    """Shelves by the pattern of event names that they hold interests in."""

    def __init__(self) -> None:
        self._shelves: dict[str, Shelf] = {}
        self._lengths: Counter[int] = Counter()
        self._others: dict[str, tuple[Callable[[str], bool], Shelf]] = {}
        self._plans: dict[str, tuple[Shelf, ...]] = {}

    @property
    def empty(self) -> bool:
        """Whether there are no shelves."""
        return not (self._shelves or self._lengths or self._others)

    def shelf(self, pattern: str) -> Shelf:
        """The shelf of `pattern`, made when there is none."""
        found = self._shelves.get(pattern)
        if found is None:
            found = self._shelves[pattern] = Shelf()
            self._note(pattern, found)
        return found

    def prune(self, pattern: str) -> None:
        """Forget the shelf of `pattern` if it is empty."""
        if len(self._shelves[pattern]):
            return
        del self._shelves[pattern]
        self._others.pop(pattern, None)
        if _is_prefix(pattern):
            self._lengths[len(pattern)] -= 1
            self._lengths += Counter()  # keeps what is above zero
        self._forget(pattern)

    def plan(self, name: str) -> tuple[Shelf, ...]:
        """The shelves whose pattern fits an event name."""
        found = self._plans.get(name)
        if found is None:
            if len(self._plans) >= REMEMBERED_NAMES:
                self._plans.clear()
            found = self._plans[name] = tuple(self._fitting(name))
        return found

    def _note(self, pattern: str, shelf: Shelf) -> None:
        if _is_prefix(pattern):
            self._lengths[len(pattern)] += 1
        elif "*" in pattern or pattern == ANY:
            self._others[pattern] = _fits(pattern), shelf
        self._forget(pattern)

    def _forget(self, pattern: str) -> None:
        """Forget the plans in which the shelf of `pattern` is missing, or stands though it is gone."""
        if "*" not in pattern and pattern != ANY:
            self._plans.pop(pattern, None)
            return
        for name in list(filter(_fits(pattern), self._plans)):
            del self._plans[name]

    def _fitting(self, name: str) -> Iterable[Shelf]:
        patterns = [name, *(f"{name[: length - 1]}*" for length in self._lengths if length <= len(name))]
        yield from (shelf for pattern in patterns if (shelf := self._shelves.get(pattern)) is not None)
        yield from (shelf for fits, shelf in self._others.values() if fits(name))


def patterns(names: tuple[str, ...]) -> tuple[str, ...]:
    """The patterns of an interest, without those that another one of them covers."""
    stars = [name for name in names if "*" in name]
    return tuple(name for name in names if not any(star != name and name_matches(star, name) for star in stars)) or (
        ANY,
    )


def _is_prefix(pattern: str) -> bool:
    return pattern.find("*") == len(pattern) - 1 and pattern != ANY


def _fits(pattern: str) -> Callable[[str], bool]:
    return name_test(pattern) if pattern != ANY else lambda name: True
