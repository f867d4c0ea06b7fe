"""A reactive trigger that waits for events `after` others.

An `after` event opens a window [a, a + within); `threshold` expected ones in it make the trigger fire, and the window
is gone. What is expected may come before the `after` event that it happened after: it is kept for `grace`.

Events that come out of order are told again in the order of event time (`openings`), and the trigger fires when more
windows are complete than it has fired for. So where the ordered events would fire, these do, whatever the order, as
long as none is later than `grace` behind the newest, or than the last windows that are kept (`LISTED`); at most once
for each that comes.
"""

from typing import Final

import msgspec

from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.interest import BEGINS, EXPECTED
from tocsin.triggers.matches import Match, Matches, knows, led, match_of, seen
from tocsin.triggers.openings import LISTED, Window, begun, beyond, kept, placed, windows
from tocsin.triggers.steps import Met, Micros, Moment, Step, Verdict

SILENCES: Final = 64
"""How many firings of the past are remembered for their cooldown."""


class AfterState(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="after"):
    """What a reactive trigger with `after` remembers under one key.

    `openers` and `expected` stand in event time; an event in both stands in both. `fired`: for how many of the windows
    that they make it has fired. What is not behind `floor` is settled. The rest as in a sliding window.
    """

    touched: Micros
    newest: Micros
    openers: Matches = ()
    expected: Matches = ()
    fired: int = 0
    floor: Match | None = None
    silences: tuple[Micros, ...] = ()


def advance(trigger: EventTrigger, state: AfterState | None, moment: Moment) -> Step[AfterState]:
    """Place the event of `moment` in its window, or forget when the time has come."""
    event = moment.event
    if event is None:
        return _told(trigger, state, moment.now)
    match = match_of(event)
    if state is None:
        state = AfterState(moment.now, seen(match, moment.now))
    match = led(match, (*state.openers, *state.expected))
    if (refusal := _refusal(trigger, state, match)) is not None:
        return Step(state, None, refusal)
    openers, expected = placed(state.openers, state.expected, match, BEGINS in moment.hits, EXPECTED in moment.hits)
    newest = max(state.newest, seen(match, moment.now))
    found = list(windows(trigger, openers, expected))
    complete = [window for window in found if window.completed is not None]
    silences = state.silences and tuple(at for at in state.silences if at + trigger.silence > newest - trigger.patience)
    now = AfterState(moment.now, newest, openers, expected, max(state.fired, len(complete)), state.floor, silences)
    if len(complete) <= state.fired:
        return Step(_settled(trigger, now, found), None, _verdict(trigger, found, match))
    window = next((one for one in complete if match in (one.opener, *one.matches)), complete[-1])
    return _fired(trigger, now, found, window, event, match.at < state.newest)


def due(trigger: EventTrigger, state: AfterState) -> Micros:
    """When `state` is forgotten: no later event can count together with what it holds."""
    known = (*state.openers, *state.expected)
    last = max(state.touched, max(match.at for match in known)) if known else state.touched
    lapse = last + 2 * trigger.span + trigger.patience
    return max(lapse, max(state.silences) + trigger.silence + trigger.patience) if state.silences else lapse


def _told(trigger: EventTrigger, state: AfterState | None, now: Micros) -> Step[AfterState]:
    if state is None or (when := due(trigger, state)) > now:
        return Step(state, None, Verdict("steady", until=None if state is None else when))
    return Step(None, None, Verdict("lapsed", len(state.expected), trigger.threshold))


def _refusal(trigger: EventTrigger, state: AfterState, match: Match) -> Verdict | None:
    """Why `match` is left alone, if it is."""
    if knows(state.openers, match) or knows(state.expected, match):
        return Verdict("repeated", threshold=trigger.threshold)
    oldest = state.newest - trigger.patience
    if match.at < oldest or (state.floor is not None and match <= state.floor):
        return Verdict("late", threshold=trigger.threshold, until=oldest)
    for fired in state.silences:
        if fired <= match.at < fired + trigger.silence:
            return Verdict("cooldown", until=fired + trigger.silence)
    return None


def _fired(
    trigger: EventTrigger, state: AfterState, found: list[Window], window: Window, cause: Event, late: bool
) -> Step[AfterState]:
    at = window.matches[-1].at
    met = Met(at, str(cause.id), trigger.threshold, cause, late=late)
    verdict = Verdict("fired", trigger.threshold, trigger.threshold, at + trigger.silence if trigger.silence else None)
    if not trigger.silence:
        return Step(_settled(trigger, state, found), met, verdict)
    quiet = _quietened(trigger, state, found, at)
    return Step(_settled(trigger, quiet, list(windows(trigger, quiet.openers, quiet.expected))), met, verdict)


def _quietened(trigger: EventTrigger, state: AfterState, found: list[Window], at: Micros) -> AfterState:
    """`state` silent from `at` on: what had come for that time is left out, except what has made it fire."""
    used = {match for one in found if one.completed for match in (one.opener, *one.matches)}
    openers, expected = (
        tuple(match for match in known if match in used or not at <= match.at < at + trigger.silence)
        for known in (state.openers, state.expected)
    )
    silences = (*state.silences, at)[-SILENCES:]
    return msgspec.structs.replace(state, openers=openers, expected=expected, silences=silences)


def _verdict(trigger: EventTrigger, found: list[Window], match: Match) -> Verdict:
    for window in found:
        until = window.opener.at + trigger.span
        if match == window.opener:
            return Verdict("opened", len(window.matches), trigger.threshold, until)
        if match in window.matches:
            return Verdict("counted", len(window.matches), trigger.threshold, until)
        if window.opener < match and match.at < until and (window.completed is None or match < window.completed):
            return Verdict("held", len(window.matches), trigger.threshold, until, reason="a window is open already")
    return Verdict("unopened", 0, trigger.threshold, match.at + trigger.patience)


def _settled(trigger: EventTrigger, state: AfterState, found: list[Window]) -> AfterState:
    """`state` without the windows that no event can change any more, and without what only they needed."""
    oldest = state.newest - trigger.patience
    floor, fired, rest = state.floor, state.fired, list(found)
    while rest and (_over(trigger, rest[0], oldest) or len(rest) > LISTED):
        window = rest.pop(0)
        floor = window.completed or Match(window.opener.at + trigger.span - 1, "~")
        fired -= window.completed is not None
    openers = begun(rest, beyond(state.openers, floor))
    expected = kept(trigger, rest, beyond(state.expected, floor), oldest)
    return AfterState(state.touched, state.newest, openers, expected, max(fired, 0), floor, state.silences)


def _over(trigger: EventTrigger, window: Window, oldest: Micros) -> bool:
    if window.completed is not None:
        return window.completed.at < oldest
    return window.opener.at + trigger.span <= oldest
