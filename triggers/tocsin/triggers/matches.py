"""Matches: the events that a trigger counts, as it remembers them, in the order of event time.

An event that follows another happened not before it. Where both are known, the follower's time is raised to its
leader's, whichever of the two comes first: clocks of two machines may differ, cause and effect do not.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

import msgspec

from tocsin.events.model import Event
from tocsin.triggers.steps import Micros, micros

LAST: Final = "~"
"""A text behind every id: `Match(at, LAST)` stands behind all matches of the instant `at`."""


class Match(msgspec.Struct, frozen=True, array_like=True, order=True, gc=False):
    """An event: when it happened, its id as 32 hexadecimal digits, and the id of the one that it follows ("": none)."""

    at: Micros
    id: str
    leader: str = ""


Matches = tuple[Match, ...]


def match_of(event: Event) -> Match:
    """The match that `event` makes, at its own time."""
    if event.follows is None:
        return Match(micros(event.occurred), event.id.hex)
    return Match(micros(event.occurred), event.id.hex, event.follows.hex)


def knows(matches: Matches, match: Match) -> bool:
    """Whether the event of `match` is among `matches`; one that follows another may stand at a later time there."""
    if match.leader:
        return any(one.id == match.id for one in matches)
    place = bisect_left(matches, match)
    return place < len(matches) and matches[place].id == match.id


def led(match: Match, known: Iterable[Match]) -> Match:
    """`match`, not before the one that it follows if that is `known`."""
    if not match.leader:
        return match
    at = max((one.at for one in known if one.id == match.leader), default=match.at)
    return match if at <= match.at else Match(at, match.id, match.leader)


def raised(matches: Matches, leader: Match) -> Matches:
    """`matches` in order again when those that follow `leader`, and those that follow them, are not before it."""
    late = [match for match in matches if match.leader == leader.id and match.at < leader.at]
    for match in late:
        moved = Match(leader.at, match.id, match.leader)
        matches = raised(tuple(moved if one.id == match.id else one for one in matches), moved)
    return tuple(sorted(matches)) if late else matches


def since(matches: Matches, instant: Micros) -> Matches:
    """Those that happened at `instant` or later."""
    if not matches or matches[0].at >= instant:
        return matches
    return matches[bisect_left(matches, Match(instant, "")) :]
