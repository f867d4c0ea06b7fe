"""A proactive trigger: what is expected after an event and does not come in time.

An `after` event opens a window [a, a + within). If `threshold` expected events lie in it, it is satisfied and gone;
else the trigger fires, in event time at a + within, by the clock when nothing is to be waited for any more:

    window    a ───────────── a + within
    clock                     │      + grace + lag     due: the window is looked at, and only now
                                                       (lag: how late the newest event came, if over a second)

Expected events are kept for a while, as one may come before the `after` event that it happened after. An event in both
counts for the open window, and opens the next if that is satisfied. The windows are those of the events in order
(`openings`), however they come: before the deadline is due, and for what is satisfied as long as nothing is later than
`grace` behind the newest.
"""

import msgspec

from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.interest import BEGINS, EXPECTED
from tocsin.triggers.matches import Match, Matches, knows, lag_of, led, match_of, seen
from tocsin.triggers.openings import Window, begun, beyond, just_before, kept, placed, windows
from tocsin.triggers.steps import Met, Micros, Moment, Step, Verdict
from tocsin.triggers.witness import witness


class AbsenceState(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="absence"):
    """What a proactive trigger with `after` remembers under one key.

    `openers` and `expected` stand in event time; an event in both stands in both. What is not behind `floor` is
    settled, and `opener` is the event there that opened a window. `witnesses`: the openers by id. `quiet`: until when
    it is silent after a firing. The rest as in a sliding window; `lag`: how late the newest event came.
    """

    touched: Micros
    newest: Micros
    lag: Micros = 0
    openers: Matches = ()
    expected: Matches = ()
    opener: Match | None = None
    floor: Match | None = None
    quiet: tuple[Micros, Micros] | None = None
    witnesses: dict[str, Event] = {}


def advance(trigger: EventTrigger, state: AbsenceState | None, moment: Moment) -> Step[AbsenceState]:
    """Place the event of `moment` in its window, or look at the window that is due."""
    if moment.event is None:
        return _told(trigger, state, moment.now)
    return _heard(trigger, state, moment, moment.event)


def due(trigger: EventTrigger, state: AbsenceState) -> Micros:
    """When the first window that is not satisfied is looked at; where there is none, when `state` is forgotten."""
    if (window := _short(trigger, state)) is not None:
        return window.opener.at + trigger.span + trigger.patience + state.lag
    lapse = max(state.touched, state.newest) + 2 * trigger.span + trigger.patience
    return lapse if state.quiet is None else max(lapse, state.quiet[1] + trigger.patience)


def _heard(trigger: EventTrigger, state: AbsenceState | None, moment: Moment, event: Event) -> Step[AbsenceState]:
    match = match_of(event)
    if state is None:
        state = AbsenceState(moment.now, seen(match, moment.now))
    match = led(match, (*state.openers, *state.expected, *filter(None, [state.opener])))
    if (refusal := _refusal(trigger, state, match)) is not None:
        return Step(state, None, refusal)
    begins = BEGINS in moment.hits
    openers, expected = placed(state.openers, state.expected, match, begins, EXPECTED in moment.hits)
    now = msgspec.structs.replace(
        state,
        touched=moment.now,
        newest=max(state.newest, seen(match, moment.now)),
        lag=lag_of(event, moment.now) if match.at >= state.newest else state.lag,
        openers=openers,
        expected=expected,
        witnesses={**state.witnesses, match.id: witness(event)} if begins else state.witnesses,
    )
    found = list(windows(trigger, openers, expected, state.opener))
    return Step(_settled(trigger, now, found), None, _verdict(trigger, found, match))


def _told(trigger: EventTrigger, state: AbsenceState | None, now: Micros) -> Step[AbsenceState]:
    if state is None or (when := due(trigger, state)) > now:
        return Step(state, None, Verdict("steady", until=None if state is None else when))
    window = _short(trigger, state)
    if window is None:
        return Step(None, None, Verdict("lapsed", 0, trigger.threshold))
    end, count = window.opener.at + trigger.span, len(window.matches)
    met = Met(end, f"due:{end}", count, witness=state.witnesses.get(window.opener.id))
    quiet = (end, end + trigger.silence) if trigger.silence else None
    openers, expected = (
        tuple(match for match in known if match.at >= (end if quiet is None else quiet[1]))
        for known in (state.openers, state.expected)
    )
    after = AbsenceState(
        now, state.newest, state.lag, openers, expected, None, just_before(end), quiet, state.witnesses
    )
    found = list(windows(trigger, openers, expected))
    return Step(_settled(trigger, after, found), met, Verdict("fired", count, trigger.threshold, end))


def _short(trigger: EventTrigger, state: AbsenceState) -> Window | None:
    """The first window that is not satisfied."""
    found = windows(trigger, state.openers, state.expected, state.opener)
    return next((window for window in found if window.completed is None), None)


def _refusal(trigger: EventTrigger, state: AbsenceState, match: Match) -> Verdict | None:
    """Why `match` is left alone, if it is."""
    if knows(state.openers, match) or knows(state.expected, match) or match.id in state.witnesses:
        return Verdict("repeated", threshold=trigger.threshold)
    opened = [one.at for one in (*state.openers[:1], state.opener) if one is not None]
    oldest = min((state.newest - trigger.patience - trigger.span, *opened))
    if match.at < oldest or (state.floor is not None and match <= state.floor):
        return Verdict("late", threshold=trigger.threshold, until=oldest)
    if state.quiet is not None and state.quiet[0] <= match.at < state.quiet[1]:
        return Verdict("cooldown", until=state.quiet[1])
    return None


def _verdict(trigger: EventTrigger, found: list[Window], match: Match) -> Verdict:
    """What became of `match`; where it satisfied a window and opened the next, the former."""
    for window in found:
        count, until = len(window.matches), window.opener.at + trigger.span
        if match in window.matches:
            return Verdict("counted" if window.completed is None else "satisfied", count, trigger.threshold, until)
        if match == window.opener:
            return Verdict("opened", count, trigger.threshold, until)
    return Verdict("held", 0, trigger.threshold)


def _settled(trigger: EventTrigger, state: AbsenceState, found: list[Window]) -> AbsenceState:
    """`state` without the windows that are satisfied for good, and without what only they needed."""
    oldest = state.newest - trigger.patience
    floor, opener, rest = state.floor, state.opener, list(found)
    while rest and rest[0].completed is not None and rest[0].completed.at < oldest:
        floor = rest.pop(0).completed
        opener = floor if floor in state.openers else None
    openers = begun(rest, beyond(state.openers, floor))
    expected = kept(trigger, rest, beyond(state.expected, floor), oldest - trigger.span)
    needed = {match.id for match in openers} | {window.opener.id for window in rest}
    witnesses = {one: event for one, event in state.witnesses.items() if one in needed}
    return msgspec.structs.replace(
        state, openers=openers, expected=expected, opener=opener, floor=floor, witnesses=witnesses
    )
