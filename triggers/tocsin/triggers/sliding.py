"""The sliding window of a reactive trigger: exact, in event time.

With threshold 3 within 10 s (x: a match, F: it fires with the two before it, and the count starts again):

    time     0    2              11   13  14
    matches  x    x              x    x   F       no window of 10 s holds 0, 2 and 11; one holds 11, 13 and 14

The window is [first, first + within): its end is outside. An event counts once, in one firing at most, and may come
up to `grace` behind the newest. Events in order make the trigger fire at each match that completes a window since the
last firing. In any other order, so long as none is too late, `threshold` matches that lie in one window and that no
firing has used never wait together: where the ordered events would fire at least once, these do.
"""

from bisect import bisect_right
from typing import Final

import msgspec

from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.matches import (
    LAST,
    Match,
    Matches,
    knows,
    leads,
    led,
    match_of,
    place_of,
    placed_in,
    raised,
    seen,
    since,
)
from tocsin.triggers.steps import Met, Micros, Moment, Step, Verdict, micros

REMEMBERED: Final = 1_024
"""How many matches that wait, and how many that fired, are remembered under a key (`threshold` of each always)."""

SILENCES: Final = 64
"""How many firings of the past are remembered for their cooldown."""

_AT_ONCE: Final = Verdict("fired", 1, 1)


class SlidingState(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="sliding"):
    """What a reactive trigger remembers under one key. `waiting` and `fired` stand in the order of event time.

    `touched`: when it last changed, by the clock; `newest`: the newest event time seen, not ahead of the clock;
    `silences`: when it fired, as long as the cooldown may matter.
    """

    touched: Micros
    newest: Micros
    waiting: Matches = ()
    fired: Matches = ()
    silences: tuple[Micros, ...] = ()


def advance(trigger: EventTrigger, state: SlidingState | None, moment: Moment) -> Step[SlidingState]:
    """Count the event of `moment`, or forget when the time has come.

    With threshold 1 and no cooldown every event fires at once and nothing is remembered: a repeated one makes the same
    firing, with the same cause.
    """
    event = moment.event
    if event is None:
        return _told(trigger, state, moment.now)
    if trigger.stateless:
        return Step(None, Met(micros(event.occurred), str(event.id), 1, event), _AT_ONCE)
    match = match_of(event)
    if state is None:
        state = SlidingState(moment.now, seen(match, moment.now))
    elif match.leader:
        match = led(match, (*state.waiting, *state.fired))
    if (refusal := _refusal(trigger, state, match)) is not None:
        return Step(state, None, refusal)
    return _counted(trigger, state, match, moment)


def due(trigger: EventTrigger, state: SlidingState) -> Micros:
    """When `state` is forgotten: no later event can count together with what it holds."""
    last = max(state.touched, state.waiting[-1].at) if state.waiting else state.touched
    lapse = last + 2 * trigger.span + trigger.patience
    return max(lapse, max(state.silences) + trigger.silence + trigger.patience) if state.silences else lapse


def _told(trigger: EventTrigger, state: SlidingState | None, now: Micros) -> Step[SlidingState]:
    if state is None or (when := due(trigger, state)) > now:
        return Step(state, None, Verdict("steady", until=None if state is None else when))
    return Step(None, None, Verdict("lapsed", len(state.waiting), trigger.threshold))


def _refusal(trigger: EventTrigger, state: SlidingState, match: Match) -> Verdict | None:
    """Why `match` does not count, if it does not."""
    if knows(state.waiting, match) or knows(state.fired, match):
        return Verdict("repeated", len(state.waiting), trigger.threshold)
    if match.at < (oldest := state.newest - trigger.patience):
        return Verdict("late", len(state.waiting), trigger.threshold, oldest)
    for fired in state.silences:
        if fired <= match.at < fired + trigger.silence:
            return Verdict("cooldown", until=fired + trigger.silence)
    return None


def _counted(trigger: EventTrigger, state: SlidingState, match: Match, moment: Moment) -> Step[SlidingState]:
    """`state` with `match`, and without what no later event can count with."""
    newest = max(state.newest, seen(match, moment.now))
    oldest = newest - trigger.patience
    waiting = since(state.waiting, oldest - trigger.span + 1)
    place, waiting = place_of(waiting, match), placed_in(waiting, match)
    if leads(match, waiting):
        waiting = raised(waiting, match)
        place = place_of(waiting, match)
    fired = since(state.fired, oldest)
    silences = state.silences and tuple(at for at in state.silences if at + trigger.silence > oldest)
    start = _full(waiting, place, trigger.threshold, trigger.span)
    if start is not None and moment.event is not None:
        now = SlidingState(moment.now, newest, waiting, fired, silences)
        return _fired(trigger, now, start, moment.event, match.at < state.newest)
    verdict = _counting(trigger, waiting, place)
    if len(waiting) > REMEMBERED:
        waiting = waiting[-max(REMEMBERED, trigger.threshold) :]
    return Step(SlidingState(moment.now, newest, waiting, fired, silences), None, verdict)


def _fired(trigger: EventTrigger, state: SlidingState, start: int, cause: Event, late: bool) -> Step[SlidingState]:
    """The firing of the matches from `start` on; those before and after wait on, except in the cooldown."""
    waiting, silences, end = state.waiting, state.silences, start + trigger.threshold
    run, rest = waiting[start:end], waiting[:start] + waiting[end:]
    at = run[-1].at
    if trigger.silence:
        rest = tuple(one for one in rest if not at <= one.at < at + trigger.silence)
        silences = (*silences, at)[-SILENCES:]
    fired = tuple(sorted((*state.fired, *run)))[-max(REMEMBERED, trigger.threshold) :]
    verdict = Verdict("fired", trigger.threshold, trigger.threshold, at + trigger.silence if trigger.silence else None)
    met = Met(at, str(cause.id), trigger.threshold, cause, late=late)
    return Step(SlidingState(state.touched, state.newest, rest, fired, silences), met, verdict)


def _full(waiting: Matches, new: int, threshold: int, span: Micros) -> int | None:
    """Where the first `threshold` matches in a row begin that hold the new one and lie within `span`, if any do."""
    if threshold == 1:
        return new
    for start in range(max(0, new - threshold + 1), min(new, len(waiting) - threshold) + 1):
        if waiting[start + threshold - 1].at - waiting[start].at < span:
            return start
    return None


def _counting(trigger: EventTrigger, waiting: Matches, place: int) -> Verdict:
    """How many lie in the window that the match in this place is the last of, and when the first of them leaves it."""
    first = bisect_right(waiting, Match(waiting[place].at - trigger.span, LAST), hi=place)
    return Verdict("counted", place + 1 - first, trigger.threshold, waiting[first].at + trigger.span)
