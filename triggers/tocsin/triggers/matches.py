"""Matches: the events that a trigger counts, as it remembers them, in the order of event time.

An event that follows another happened not before it. Where both are known, the follower's time is raised to its
leader's, whichever of the two comes first: clocks of two machines may differ, cause and effect do not.
"""

from bisect import bisect_left
from collections.abc import Iterable
from itertools import groupby
from typing import Final

import msgspec

from tocsin.events.model import Event
from tocsin.triggers.steps import Micros, micros

LAST: Final = "~"
"""A text behind every id: `Match(at, LAST)` stands behind all matches of the instant `at`."""


LATE: Final = 1_000_000
"""An event that comes later than this (microseconds) is part of a backlog."""


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
    if not matches:
        return False
    if match.leader:
        return any(one.id == match.id for one in matches)
    if matches[-1] < match:
        return False
    place = bisect_left(matches, match)
    return place < len(matches) and matches[place].id == match.id


def leads(match: Match, matches: Matches) -> bool:
    """Whether any of `matches` follows `match`."""
    for one in matches:  # noqa: SIM110  (every event passes here: a generator costs thrice as much)
        if one.leader == match.id:
            return True
    return False


def seen(match: Match, now: Micros) -> Micros:
    """The event time that is known to be reached: a producer's clock that runs ahead makes nobody else late.

    `now` 0: no clock is known, and the event's own time is taken.
    """
    return min(match.at, now) if now else match.at


def lag_of(event: Event, now: Micros) -> Micros:
    """How late an event came when that is over a second, else 0: a deadline waits as long for those after it."""
    late = now - micros(event.occurred)
    return late if late > LATE else 0


def led(match: Match, known: Iterable[Match]) -> Match:
    """`match`, not before the one that it follows if that is `known`."""
    if not match.leader:
        return match
    leader = max((one for one in known if one.id == match.leader), default=match)
    return match if leader <= match else _behind(leader, match)


def raised(matches: Matches, leader: Match, moved: frozenset[str] = frozenset()) -> Matches:
    """`matches` in order again when those that follow `leader`, and those that follow them, are not before it.

    Each moves once, and none of the `moved`: events that follow each other in a ring have no order.
    """
    moved = moved | {leader.id}
    late = [match for match in matches if match.leader == leader.id and match < leader and match.id not in moved]
    for match in late:
        then = _behind(leader, match)
        matches = raised(tuple(then if one.id == match.id else one for one in matches), then, moved)
    return tuple(sorted(matches)) if late else matches


def _behind(leader: Match, match: Match) -> Match:
    """`match` at the time of `leader`; where their ids would put it before that, a microsecond later."""
    return Match(leader.at + (match.id < leader.id), match.id, match.leader)


def place_of(matches: Matches, match: Match) -> int:
    """Where `match` stands among `matches`, or would."""
    return len(matches) if not matches or matches[-1] < match else bisect_left(matches, match)


def placed_in(matches: Matches, match: Match) -> Matches:
    """`matches` with one more, in its place."""
    place = place_of(matches, match)
    return (*matches, match) if place == len(matches) else (*matches[:place], match, *matches[place:])


def since(matches: Matches, instant: Micros) -> Matches:
    """Those that happened at `instant` or later."""
    if not matches or matches[0].at >= instant:
        return matches
    if len(matches) > 1 and matches[1].at >= instant:
        return matches[1:]
    return matches[bisect_left(matches, Match(instant, "")) :]


def thinned(matches: Matches, threshold: int, span: Micros) -> Matches:
    """As few of `matches` as still tell of any window of length `span` whether it holds `threshold` of them.

    Time is cut into slots as long as the window; of each the first and the last `threshold` are kept. A window covers
    the end of one slot and the start of the next, so it still holds enough if it did.
    """
    if len(matches) <= 2 * threshold:
        return matches
    kept: list[Match] = []
    for _, slot in groupby(matches, lambda match: match.at // span):
        inside = list(slot)
        kept += inside if len(inside) <= 2 * threshold else inside[:threshold] + inside[-threshold:]
    return matches if len(kept) == len(matches) else tuple(kept)
