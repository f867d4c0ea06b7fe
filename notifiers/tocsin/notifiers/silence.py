"""Silences: for a while nothing is said of alerts with such labels. An index finds the one that concerns an alert."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from typing import Final
from uuid import UUID

import msgspec

from tocsin.events.errors import Invalid
from tocsin.notifiers.matchers import Matcher, Pack, matches

FEW: Final = 16
"""So many silences are asked one after the other; more of them are asked at once."""

Labels = Mapping[str, str]


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """From `starts` until `ends` (not in it) nothing is said of alerts that all `matchers` fit."""

    id: UUID
    matchers: tuple[Matcher, ...]
    starts: datetime
    ends: datetime
    author: str = ""
    comment: str = ""

    def covers(self, labels: Labels, now: datetime) -> bool:
        """Whether it keeps an alert with these labels quiet at `now`."""
        return self.starts <= now < self.ends and matches(self.matchers, labels)


def check(matchers: Sequence[Matcher], starts: datetime, ends: datetime) -> None:
    """Raise `Invalid` for what would silence everything, or no time at all."""
    if starts >= ends:
        raise Invalid(
            f"a silence from {starts:%Y-%m-%d %H:%M:%SZ} until {ends:%Y-%m-%d %H:%M:%SZ} is none; end it later"
        )
    if not matchers:
        raise Invalid('a silence needs a matcher, such as alertname="etl"')
    if all(matcher.takes_missing for matcher in matchers):
        told = ", ".join(map(str, matchers))
        raise Invalid(
            f'{told}: these fit alerts without such labels, too; add one that does not, such as alertname="etl"'
        )


class SilenceIndex:
    """Silences, found by what an alert carries and not by how many there are.

    Each is filed under the rarest of its equal matchers. Where many are filed together, their first expressions are
    asked at once.
    """

    def __init__(self, silences: Iterable[Silence] = ()) -> None:
        everything = sorted(silences, key=lambda silence: silence.ends, reverse=True)
        commonness = Counter(term for silence in everything for term in _terms(silence))
        filed: dict[tuple[str, str] | None, list[Silence]] = {}
        for silence in everything:
            rarest = min(_terms(silence), key=commonness.__getitem__, default=None)
            filed.setdefault(rarest, []).append(silence)
        self._anywhere = _Shelf(filed.pop(None, []))
        self._shelves: dict[str, dict[str, _Shelf]] = {}
        for term, together in filed.items():
            if term is not None:
                self._shelves.setdefault(term[0], {})[term[1]] = _Shelf(together)
        self.size = len(everything)

    def find(self, labels: Labels, now: datetime) -> Silence | None:
        """The silence over an alert with these labels, of several the one that ends last."""
        best = self._anywhere.find(labels, now)
        for name, value in labels.items():
            shelf = self._shelves.get(name, _NONE).get(value)
            found = shelf.find(labels, now) if shelf else None
            if found and (best is None or found.ends > best.ends):
                best = found
        return best


class _Shelf:
    """Silences that are filed together, the last to end first."""

    def __init__(self, silences: Sequence[Silence]) -> None:
        many = len(silences) > FEW
        self._plain = [silence for silence in silences if not (many and _expression(silence))]
        self._packed = [silence for silence in silences if many and _expression(silence)]

    @cached_property
    def _packs(self) -> dict[str, tuple[Pack, list[Silence]]]:
        """By label: their expressions for it, and the silences in the same order. Made when they are first needed."""
        found: dict[str, list[tuple[str, Silence]]] = {}
        for silence in self._packed:
            for matcher in _expression(silence):
                found.setdefault(matcher.name, []).append((matcher.value, silence))
        return {
            name: (Pack([text for text, _ in together]), [one for _, one in together])
            for name, together in found.items()
        }

    def find(self, labels: Labels, now: datetime) -> Silence | None:
        candidates = [next((one for one in self._plain if one.covers(labels, now)), None)] if self._plain else []
        if self._packed:
            for name, (pack, silences) in self._packs.items():
                places = pack.matching(labels.get(name, ""))
                candidates.append(next((s for place in places if (s := silences[place]).covers(labels, now)), None))
        return max((found for found in candidates if found), key=lambda found: found.ends, default=None)


_NONE: Final[dict[str, _Shelf]] = {}


def _terms(silence: Silence) -> Iterator[tuple[str, str]]:
    """What an alert must carry, label and value."""
    return ((one.name, one.value) for one in silence.matchers if one.op == "=" and one.value)


def _expression(silence: Silence) -> tuple[Matcher, ...]:
    """The first of its matchers by an expression, if there is one."""
    return tuple(one for one in silence.matchers if one.op == "=~")[:1]
