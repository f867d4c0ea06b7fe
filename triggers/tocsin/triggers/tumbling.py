"""Tumbling windows: an event trigger as Prefect's server evaluates it, bucket by bucket, its oddities included.

There is one bucket per key, [start, end). An event before it is ignored, one in it counts, one behind it ends it.

- The first bucket of a trigger without `after` begins 15 minutes before its first event.
- A reactive trigger that fires is deaf until its bucket ends: the next one begins there. A bucket that is 60 s past its
  end is forgotten.
- With `after`, the bucket begins at that event and is gone once it fired or ended. An event that is expected too makes
  it begin at -1, so that it cannot satisfy itself.
- `within` 0: every `threshold`-th event fires, whatever the time between.
- A proactive trigger looks when a bucket ends, without `for_each` also every `within` since it began, and opens a
  bucket then where there is none, even with `after`. What is satisfied when it looks is gone. What is not fires, and
  without `after` goes on firing, `within` after `within`. An expected event that comes behind the end fires at once,
  and is named the cause.

Source: `evaluate`, `reactive_evaluation` and `proactive_evaluation` of Prefect 3.9. Prefect looks every 5 s at all keys
together; here each key is looked at when its own bucket ends. As everywhere, an event that is repeated counts once.
"""

from typing import Final, NamedTuple

import msgspec

from tocsin.events.model import Event
from tocsin.triggers.event import EventTrigger
from tocsin.triggers.interest import BEGINS, EXPECTED
from tocsin.triggers.matches import Match, Matches, knows, lag_of, match_of, placed_in, seen, since, thinned
from tocsin.triggers.steps import Met, Micros, Moment, Step, Verdict
from tocsin.triggers.witness import witness

LOOKBACK: Final = 15 * 60 * 1_000_000
"""How far a first bucket reaches back (microseconds)."""

SWEPT: Final = 60 * 1_000_000
"""How long after its end (microseconds) a reactive bucket is forgotten."""

HELD: Final = 2 * LOOKBACK
"""How long (microseconds) an expected event is held for a bucket that opens later, if not for `within`."""

REMEMBERED: Final = 256
"""How many events are remembered by id (`threshold` always)."""


class Bucket(msgspec.Struct, frozen=True, array_like=True):
    """What has counted in [start, end). `last`: what is known of the last event, for a firing without one."""

    start: Micros
    end: Micros
    count: int
    last: Event | None = None


class TumblingState(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="kind", tag="tumbling"):
    """What a trigger with tumbling windows remembers under one key.

    `look`: when a proactive one looks next, in event time. `held`: expected events of a proactive one with `after`,
    for the buckets that open over them. `past`: events that have been told, so that none is told twice. The rest as in
    the state of an absence.
    """

    touched: Micros
    newest: Micros
    lag: Micros = 0
    bucket: Bucket | None = None
    look: Micros | None = None
    held: Matches = ()
    past: Matches = ()


class Seen(NamedTuple):
    """An event as a bucket sees it."""

    event: Event
    at: Micros
    begins: bool
    counts: bool


class Evaluated(NamedTuple):
    """The bucket after an evaluation, and the firing if there is one."""

    bucket: Bucket | None
    met: Met | None
    verdict: Verdict


def advance(trigger: EventTrigger, state: TumblingState | None, moment: Moment) -> Step[TumblingState]:
    """Count the event of `moment` in its bucket, or look at the bucket when the time has come."""
    if moment.event is not None:
        return _heard(trigger, state, moment, moment.event)
    if state is None:
        if not trigger.starts:
            return Step(None, None, Verdict("steady"))
        state = TumblingState(moment.now, moment.now, look=moment.now)
        return _looked(trigger, state, moment.now)
    if (when := due(trigger, state)) > moment.now:
        return Step(state, None, Verdict("steady", until=when))
    if state.look is not None:
        return _looked(trigger, msgspec.structs.replace(state, touched=moment.now), state.look)
    return Step(None, None, Verdict("lapsed", state.bucket.count if state.bucket else 0, trigger.threshold))


def due(trigger: EventTrigger, state: TumblingState) -> Micros:
    """When a proactive trigger looks; where there is nothing to look at, when `state` is forgotten."""
    if state.look is not None:
        return state.look + trigger.patience + state.lag
    if trigger.posture == "Reactive" and state.bucket is not None:
        return state.bucket.end + SWEPT + state.lag
    return state.touched + max(2 * trigger.span, SWEPT, HELD if state.held else 0)


def _heard(trigger: EventTrigger, state: TumblingState | None, moment: Moment, event: Event) -> Step[TumblingState]:
    match = match_of(event)
    if state is None:
        state = TumblingState(moment.now, seen(match, moment.now))
    if knows(state.past, match) or knows(state.held, match):
        return Step(state, None, Verdict("repeated", threshold=trigger.threshold))
    newest = max(state.newest, seen(match, moment.now))
    one = Seen(event, match.at, BEGINS in moment.hits, EXPECTED in moment.hits)
    found = _evaluated(trigger, state, one)
    holds = _holds(trigger) and one.counts and not one.begins
    now = TumblingState(
        moment.now,
        newest,
        lag_of(event, moment.now) if match.at >= state.newest else state.lag,
        found.bucket,
        _next_look(trigger, state, found.bucket),
        _held(trigger, state.held, newest, match if holds else None),
        _past(trigger, placed_in(state.past, match), found.bucket, newest),
    )
    met = found.met and msgspec.structs.replace(found.met, late=match.at < state.newest)
    return Step(now, met, found.verdict)


def _evaluated(trigger: EventTrigger, state: TumblingState, one: Seen) -> Evaluated:
    """The bucket that an event falls into, opened for it if need be, with the event counted."""
    bucket = state.bucket
    if bucket is None and one.begins:
        held = state.held if _holds(trigger) else ()
        bucket = _opened(trigger, one.at, -1 if one.counts else 0, _last(trigger, one), held)
    elif bucket is None and not trigger.after and one.counts:
        bucket = Bucket(one.at - LOOKBACK, one.at + trigger.span, 0, _last(trigger, one))
    if bucket is None:
        return Evaluated(None, None, Verdict("held" if _holds(trigger) else "unopened", 0, trigger.threshold))
    if not one.counts:
        outcome = Verdict("opened" if state.bucket is None else "held", bucket.count, trigger.threshold, bucket.end)
        return Evaluated(bucket, None, outcome)
    return _counted(trigger, bucket, one, state.held)


def _counted(trigger: EventTrigger, bucket: Bucket, one: Seen, held: Matches) -> Evaluated:
    """An expected event in a bucket, or behind it."""
    if one.at < bucket.start:
        deaf = not trigger.after and bucket.count == 0
        return Evaluated(bucket, None, Verdict("deaf" if deaf else "late", bucket.count, until=bucket.start))
    inside = one.at < bucket.end or (trigger.posture == "Reactive" and not trigger.span)
    if inside:
        bucket = Bucket(bucket.start, bucket.end, bucket.count + 1, _last(trigger, one))
    fires = _meets(trigger, bucket) and (trigger.posture == "Reactive" or bucket.end <= one.at)
    if not fires and one.at < bucket.end:
        return _waiting(trigger, bucket, one, held)
    met = Met(one.at, str(one.event.id), bucket.count, one.event) if fires else None
    verdict = Verdict("fired" if fires else "lapsed", bucket.count, trigger.threshold, bucket.end)
    if trigger.after:
        return Evaluated(None, met, verdict)
    if not trigger.span:
        counted = Verdict("counted", bucket.count, trigger.threshold)
        return Evaluated(None, met, verdict) if fires else Evaluated(bucket, None, counted)
    start = max(bucket.end, one.at)
    if trigger.posture == "Proactive" or inside:
        return Evaluated(Bucket(start, start + trigger.span, 0 if inside else 1), met, verdict)
    again = _counted(trigger, Bucket(start, start + trigger.span, 0), one, held)
    return again if met is None else Evaluated(again.bucket, met, verdict)


def _waiting(trigger: EventTrigger, bucket: Bucket, one: Seen, held: Matches) -> Evaluated:
    """A bucket that has not fired and is not over. Satisfied by an `after` event, it gives way to the next."""
    if trigger.posture == "Reactive" or _meets(trigger, bucket):
        return Evaluated(bucket, None, Verdict("counted", bucket.count, trigger.threshold, bucket.end))
    satisfied = Verdict("satisfied", bucket.count, trigger.threshold, bucket.end)
    if one.begins:
        bucket = _opened(trigger, one.at, 0, _last(trigger, one), held)
    return Evaluated(bucket, None, satisfied)


def _looked(trigger: EventTrigger, state: TumblingState, as_of: Micros) -> Step[TumblingState]:
    """What a proactive trigger finds when it looks: a bucket that is over, satisfied or not, or none."""
    bucket = state.bucket
    if bucket is None and not trigger.for_each:
        bucket = _opened(trigger, as_of, 0, None, state.held)
    met, verdict = None, Verdict("steady", bucket.count if bucket else 0, trigger.threshold)
    if bucket is not None and not _meets(trigger, bucket):
        verdict = Verdict("satisfied", bucket.count, trigger.threshold, bucket.end)
        bucket = None
    elif bucket is not None and bucket.end <= as_of:
        met = Met(bucket.end, f"due:{bucket.end}", bucket.count, witness=bucket.last)
        verdict = Verdict("fired", bucket.count, trigger.threshold, bucket.end)
        bucket = None if trigger.after else Bucket(as_of, as_of + trigger.span, 0)
    look = bucket.end if bucket else None
    if not trigger.for_each:
        look = min(look or as_of + trigger.span, as_of + trigger.span)
    return Step(msgspec.structs.replace(state, bucket=bucket, look=look), met, verdict)


def _next_look(trigger: EventTrigger, state: TumblingState, bucket: Bucket | None) -> Micros | None:
    """When a proactive trigger looks, after an event has left it with `bucket`."""
    if trigger.posture == "Reactive":
        return None
    if state.look is not None and not trigger.for_each:
        return state.look
    return bucket.end if bucket else None


def _opened(trigger: EventTrigger, start: Micros, count: int, last: Event | None, held: Matches) -> Bucket:
    """A bucket from `start` on, which counts the held events that it covers."""
    end = start + trigger.span
    return Bucket(start, end, count + len(since(held, start)) - len(since(held, end)), last)


def _last(trigger: EventTrigger, one: Seen) -> Event | None:
    """What is kept of an event for a firing without one, which only a proactive trigger has."""
    return witness(one.event) if trigger.posture == "Proactive" else None


def _meets(trigger: EventTrigger, bucket: Bucket) -> bool:
    return (bucket.count >= trigger.threshold) == (trigger.posture == "Reactive")


def _holds(trigger: EventTrigger) -> bool:
    """Whether expected events are held for buckets that open later."""
    return trigger.posture == "Proactive" and bool(trigger.after)


def _past(trigger: EventTrigger, past: Matches, bucket: Bucket | None, newest: Micros) -> Matches:
    """Of the events that have been told those that would count if they were told again."""
    oldest = newest - max(trigger.span, SWEPT)
    if bucket is not None and trigger.span and not trigger.after:
        oldest = max(oldest, bucket.start)
    return since(past, oldest)[-max(REMEMBERED, trigger.threshold) :]


def _held(trigger: EventTrigger, held: Matches, newest: Micros, match: Match | None) -> Matches:
    """`held` with one more, without those that are too old, and as few as will do."""
    if match is not None:
        held = placed_in(held, match)
    return held and thinned(since(held, newest - max(HELD, trigger.span)), trigger.threshold, trigger.span)
