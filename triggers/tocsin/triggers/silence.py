"""A dead man's switch: a proactive trigger without `after`, which fires when too little was heard for too long.

It is armed by the first expected event of its key, or when its automation begins if it has no `for_each`. From
armed + within on it wants, at every instant T, `threshold` expected events in [T - within, T); at the first T at which
there are fewer it fires. With threshold 1 within 10 s (x: an expected event, D: the instant of the firing):

    time    0     6      14         24    D = 24: nothing came in the 10 s after 14; an event at 24 would do
    events  x     x      x

It fires once for each silence: the next expected event arms it again. All this is in event time, from the events in
order; by the clock it looks when D + grace + lag has come (`absence`).
"""

import msgspec

from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.matches import (
    Match,
    Matches,
    knows,
    lag_of,
    led,
    match_of,
    placed_in,
    raised,
    seen,
    since,
    thinned,
)
from tocsin.triggers.steps import Met, Micros, Moment, Step, Verdict
from tocsin.triggers.witness import witness


class SilenceState(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="silence"):
    """What a dead man's switch remembers under one key. `beats` are the expected events, in event time.

    `full`: until when enough is known to have been heard; none: it has fired and waits to be armed. `fixed`: no earlier
    event moves that, as its automation began then, or as enough is known to have come before. `spent`: the instant of
    the last firing, before which nothing counts any more.
    `witness`: the newest event heard of. `quiet`: until when it is silent after a firing.
    """

    touched: Micros
    newest: Micros
    lag: Micros = 0
    beats: Matches = ()
    full: Micros | None = None
    fixed: bool = False
    spent: Micros | None = None
    quiet: Micros | None = None
    witness: Event | None = None


def advance(trigger: EventTrigger, state: SilenceState | None, moment: Moment) -> Step[SilenceState]:
    """Note the event of `moment`, or see whether too little was heard. A first moment without event arms."""
    if moment.event is not None:
        return _heard(trigger, state, moment, moment.event)
    if state is not None:
        return _told(trigger, state, moment.now)
    if not trigger.starts:
        return Step(None, None, Verdict("steady"))
    armed = SilenceState(moment.now, moment.now, full=moment.now + trigger.span, fixed=True)
    return Step(armed, None, Verdict("opened", 0, trigger.threshold, armed.full))


def due(trigger: EventTrigger, state: SilenceState) -> Micros | None:
    """When it looks whether too little was heard; after a firing, when `state` is forgotten.

    Without `for_each` it is kept for ever: nothing remembered would mean that it has to be armed.
    """
    if (short := _short(trigger, state)) is not None:
        return _named(state, short) + trigger.patience + state.lag
    if trigger.starts:
        return None
    lapse = max(state.touched, state.newest) + 2 * trigger.span + trigger.patience
    return max(lapse, (state.quiet or 0) + trigger.patience)


def _heard(trigger: EventTrigger, state: SilenceState | None, moment: Moment, event: Event) -> Step[SilenceState]:
    match = match_of(event)
    if state is None:
        state = SilenceState(moment.now, seen(match, moment.now))
    match = led(match, state.beats)
    if (refusal := _refusal(trigger, state, match)) is not None:
        return Step(state, None, refusal)
    newer = state.witness is None or match.at >= state.newest
    now = SilenceState(
        touched=moment.now,
        newest=max(state.newest, seen(match, moment.now)),
        lag=lag_of(event, moment.now) if match.at >= state.newest else state.lag,
        beats=raised(placed_in(state.beats, match), match),
        full=_armed(trigger, state, match),
        fixed=state.fixed,
        spent=state.spent,
        quiet=state.quiet,
        witness=witness(event) if newer else state.witness,
    )
    kept = _kept(trigger, now)
    return Step(kept, None, _verdict(trigger, state, kept, match))


def _armed(trigger: EventTrigger, state: SilenceState, match: Match) -> Micros:
    """Until when enough is known to have been heard, given that `match` was: it may be the one that armed."""
    if state.full is None:
        return match.at + trigger.span
    arms = not state.fixed and (not state.beats or match.at < state.beats[0].at == state.full - trigger.span)
    return min(state.full, match.at + trigger.span) if arms else state.full


def _told(trigger: EventTrigger, state: SilenceState, now: Micros) -> Step[SilenceState]:
    when = due(trigger, state)
    if when is None or when > now:
        return Step(state, None, Verdict("steady", until=when))
    short = _short(trigger, state)
    if short is None:
        return Step(None, None, Verdict("lapsed", len(state.beats), trigger.threshold))
    at = _named(state, short)
    count = len(since(state.beats, short - trigger.span)) - len(since(state.beats, short))
    quiet = at + trigger.silence if trigger.silence else None
    beats = since(state.beats, max(short, quiet or 0))
    full = beats[0].at + trigger.span if beats else None
    after = SilenceState(now, state.newest, state.lag, beats, full, spent=short, quiet=quiet, witness=state.witness)
    met = Met(at, f"due:{at}", count, witness=state.witness)
    return Step(after, met, Verdict("fired", count, trigger.threshold, at))


def _short(trigger: EventTrigger, state: SilenceState) -> Micros | None:
    """The first instant at which fewer than `threshold` beats lie in the `within` before it, if it is armed."""
    if state.full is None:
        return None
    beats, instant = state.beats, state.full
    while True:
        heard = len(beats) - len(since(beats, instant))
        left = len(beats) - len(since(beats, instant - trigger.span))
        if heard - left < trigger.threshold:
            return instant
        instant = beats[heard - trigger.threshold].at + trigger.span + 1


def _named(state: SilenceState, short: Micros) -> Micros:
    """The instant of the firing: when the beat that is missed left the window, which is right before `short`."""
    return short if short == state.full else short - 1


def _refusal(trigger: EventTrigger, state: SilenceState, match: Match) -> Verdict | None:
    """Why `match` is left alone, if it is."""
    if knows(state.beats, match):
        return Verdict("repeated", threshold=trigger.threshold, until=state.full)
    if state.quiet is not None and state.quiet - trigger.silence <= match.at < state.quiet:
        return Verdict("cooldown", until=state.quiet)
    first = state.spent or 0
    if state.full is not None:
        armed = state.full - trigger.span
        first = max(first, armed if state.fixed else min(armed, state.newest - trigger.patience - trigger.span))
    if match.at < first:
        return Verdict("late", threshold=trigger.threshold, until=first)
    return None


def _verdict(trigger: EventTrigger, before: SilenceState, state: SilenceState, match: Match) -> Verdict:
    short = _short(trigger, state) or 0
    count = len(since(state.beats, match.at - trigger.span))
    until = _named(state, short)
    if before.full is None:
        return Verdict("opened", count, trigger.threshold, until)
    return Verdict("counted", count, trigger.threshold, until)


def _kept(trigger: EventTrigger, state: SilenceState) -> SilenceState:
    """`state` with as few beats as will do: of a time that was full no more than the last `threshold`.

    None is dropped as long as one may come that armed it earlier.
    """
    beats = thinned(state.beats, trigger.threshold, trigger.span)
    last, short = beats[-trigger.threshold :], _short(trigger, state)
    full = last[0].at + trigger.span
    armed = trigger.span + state.newest - trigger.patience > (state.full or 0)
    if not (armed or state.fixed) or short is None or short == state.full or min(short, full) <= last[-1].at:
        return msgspec.structs.replace(state, beats=beats)
    return msgspec.structs.replace(state, beats=last, full=full, fixed=True)
