"""Windows that an event opens: `after` events and expected ones, told again in the order of event time.

With threshold 2 within 10 s (a: an `after` event, x: an expected one):

    time     0    3    4         11   12        20
    events   a    x    a         x    a    x    x
             └────1────────┘           └───1────2 complete
             short: the second came at its end

The second `after` event opens nothing: a window is open. What stands in order needs no order of arrival: whoever keeps
the events, and tells them again when one comes late, finds the same windows.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from tocsin.triggers.event import EventTrigger
from tocsin.triggers.matches import LAST, Match, Matches, raised, thinned
from tocsin.triggers.steps import Micros

LISTED: Final = 16
"""How many windows, and how many events outside of any, are kept under a key (always four times `threshold`)."""

FREE: Final = 16
"""How many expected events outside of any window are kept as they are (and twice `threshold`)."""


class Window(NamedTuple):
    """A window from its opener on, the matches in it, and the one that completed it (none: short, or still open)."""

    opener: Match
    matches: Matches
    completed: Match | None = None


def windows(
    trigger: EventTrigger, openers: Iterable[Match], expected: Iterable[Match], opener: Match | None = None
) -> Iterator[Window]:
    """The windows in event time, `opener` being that of the first if one is open before all.

    The event that completes a window of a proactive trigger opens the next if it is an `after` event too.
    """
    begins, counts = frozenset(openers), frozenset(expected)
    inside: list[Match] = []
    for match in sorted(begins | counts):
        if opener is not None and match.at >= opener.at + trigger.span:
            yield Window(opener, tuple(inside))
            opener, inside = None, []
        if opener is None:
            opener = match if match in begins else None
        elif match in counts:
            inside.append(match)
            if len(inside) == trigger.threshold:
                yield Window(opener, tuple(inside), match)
                opener, inside = (match if match in begins and trigger.posture == "Proactive" else None), []
    if opener is not None:
        yield Window(opener, tuple(inside))


def placed(openers: Matches, expected: Matches, match: Match, begins: bool, counts: bool) -> tuple[Matches, Matches]:
    """Both lists with `match` in those that it belongs to, and what follows it not before it."""
    openers = tuple(sorted((*openers, match))) if begins else openers
    expected = tuple(sorted((*expected, match))) if counts else expected
    if not any(one.leader == match.id for one in (*openers, *expected)):
        return openers, expected
    both = raised(tuple({*openers, *expected}), match)
    begun, counted = ({one.id for one in ones} for ones in (openers, expected))
    return tuple(one for one in both if one.id in begun), tuple(one for one in both if one.id in counted)


def kept(trigger: EventTrigger, found: Iterable[Window], expected: Matches, oldest: Micros) -> Matches:
    """The expected events that still matter: in a window, or not before `oldest`; of many of the latter, as few as do.

    (`FREE`: then a window may be known to be complete by a later event than the one that completed it.)
    """
    inside = {match for window in found for match in (window.opener, *window.matches)}
    free = tuple(match for match in expected if match.at >= oldest and match not in inside)
    if len(free) > FREE + 2 * trigger.threshold:
        free = thinned(free, trigger.threshold, trigger.span)[-max(LISTED, 4 * trigger.threshold) :]
    return tuple(sorted((*free, *(match for match in expected if match in inside))))


def begun(found: Iterable[Window], openers: Matches) -> Matches:
    """The openers that still matter: those of windows, and the last of the others."""
    opening = {window.opener for window in found}
    others = [match for match in openers if match not in opening][-LISTED:]
    return tuple(sorted((*others, *(match for match in openers if match in opening))))


def beyond(matches: Matches, floor: Match | None) -> Matches:
    """Those behind `floor`, which is settled with all before it."""
    return matches if floor is None else tuple(match for match in matches if match > floor)


def just_before(instant: Micros) -> Match:
    """A place behind every match that happened before `instant`, and before every one that happened then."""
    return Match(instant - 1, LAST)
