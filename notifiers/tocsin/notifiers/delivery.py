"""What becomes of a delivery: pure decisions on values, the time and the chance among them.

```text
pending ──claim──▶ sending ──▶ delivered
   ▲                  ├──────▶ pending, due = now + max(backoff, Retry-After)     Later
   │                  ├──────▶ pending in the minimal form, once                  Refused, a plainer one may pass
   │                  ├──────▶ dead ─▶ event tocsin.delivery.dead                 Refused, or older than 72 h
   │                  └──────▶ unknown ──find──▶ delivered │ sent again           Unknown, or a lease that ran out
   └ superseded ◀── a newer revision for the same receiver, while this one waits
```

Level, not edge: a receiver is told the newest truth, not a backlog. A trigger told is a resolve owed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Literal, assert_never

from tocsin.notifiers.outcomes import Delivered, Handle, Later, Outcome, Refused, Unknown
from tocsin.notifiers.view import Action

State = Literal["pending", "sending", "unknown", "delivered", "superseded", "dead"]

LIVE: Final = ("pending", "sending", "unknown")
OVER_BEFORE_TOLD: Final = "over before told"
NEWER: Final = "a newer revision took its place"


@dataclass(frozen=True, slots=True)
class Policy:
    """How long to wait, and for how long to try. The wait doubles from `base` to `ceiling`, under full jitter."""

    base: timedelta = timedelta(seconds=1)
    ceiling: timedelta = timedelta(minutes=10)
    give_up: timedelta = timedelta(hours=72)


POLICY: Final = Policy()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a delivery has come when an attempt has ended.

    `tries` counts that attempt; `since` is when its receiver began to wait; `overtaken` says that a newer revision
    waits behind it.
    """

    tries: int
    since: datetime
    minimal: bool = False
    maybe_told: bool = False
    overtaken: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """What the delivery is now. `not_before` binds every delivery to the same receiver."""

    state: State
    due: datetime
    minimal: bool
    maybe_told: bool
    reason: str | None = None
    not_before: datetime | None = None
    handle: Handle | None = None


def backoff(tries: int, jitter: float, policy: Policy = POLICY) -> timedelta:
    """The wait after attempt number `tries` (from 1): a share (`jitter`, in [0, 1)) of `base` doubled at each try.

    The doubling ends at `ceiling` ("full jitter": two that failed together do not come back together).
    """
    doubled: timedelta = policy.base * (1 << (tries - 1)) if tries < 20 else policy.ceiling
    return min(doubled, policy.ceiling) * jitter


def next_state(progress: Progress, outcome: Outcome, now: datetime, jitter: float, policy: Policy = POLICY) -> Step:
    """The step after an attempt that ended at `now` with `outcome`; `jitter` in [0, 1) spreads the retries."""
    match outcome:
        case Delivered(handle):
            return Step("delivered", now, progress.minimal, True, handle=handle)
        case Later(after, reason):
            step = _later(progress, after, reason, now, backoff(progress.tries, jitter, policy), policy)
            return replace(step, not_before=None) if outcome.alone else step
        case Refused(reason, resend_minimal):
            return _refused(progress, reason, resend_minimal, now)
        case Unknown(reason):
            return _unknown(progress, reason, now, backoff(progress.tries, jitter, policy), policy)
        case _:
            assert_never(outcome)


def _later(
    progress: Progress, after: timedelta | None, reason: str, now: datetime, wait: timedelta, policy: Policy
) -> Step:
    not_before = now + after if after else None
    due = now + max(wait, after or timedelta(0))
    state: State = "superseded" if progress.overtaken else "dead" if _too_old(progress, now, policy) else "pending"
    return Step(state, due, progress.minimal, progress.maybe_told, reason, not_before)


def _refused(progress: Progress, reason: str, resend_minimal: bool, now: datetime) -> Step:
    if progress.overtaken:
        return Step("superseded", now, progress.minimal, progress.maybe_told, reason)
    if resend_minimal and not progress.minimal:
        return Step("pending", now, True, progress.maybe_told, reason)
    return Step("dead", now, progress.minimal, progress.maybe_told, reason)


def _unknown(progress: Progress, reason: str, now: datetime, wait: timedelta, policy: Policy) -> Step:
    state: State = "superseded" if progress.overtaken else "dead" if _too_old(progress, now, policy) else "unknown"
    return Step(state, now + wait, progress.minimal, True, reason)


def _too_old(progress: Progress, now: datetime, policy: Policy) -> bool:
    return now - progress.since >= policy.give_up


@dataclass(frozen=True, slots=True)
class Known:
    """A delivery of an incident to a receiver, as far as deciding about the next one needs it."""

    revision: int
    action: Action
    state: State
    maybe_told: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about a receiver: which revisions lose their place, and what is put down for it.

    `put_state` is `superseded` when the new row only says what was not told.
    """

    put: Action | None = None
    put_state: Literal["pending", "superseded"] = "pending"
    supersede: tuple[int, ...] = field(default=())
    reason: str = NEWER


def told(known: Sequence[Known]) -> bool:
    """Whether the receiver has, or may have, been told of the incident."""
    return any(row.state in ("delivered", "sending") or row.maybe_told for row in known)


def on_trigger(known: Sequence[Known], updates: bool) -> Decision:
    """What a (further) trigger means for a receiver; one that takes no updates hears nothing twice."""
    if told(known):
        return Decision("update", supersede=_waiting(known)) if updates else Decision()
    acknowledged = any(row.action == "acknowledge" and row.state == "pending" for row in known)
    return Decision("trigger", supersede=_waiting(known)) if updates or not acknowledged else Decision()


def on_repeat(known: Sequence[Known]) -> Decision:
    """What it means that an incident is still there: everybody hears it again."""
    return Decision("repeat" if told(known) else "trigger", supersede=_waiting(known))


def on_acknowledge(known: Sequence[Known], updates: bool, acknowledges: bool) -> Decision:
    """What it means that somebody is at it: what is not told yet is told so, and a pager learns it behind its call."""
    if updates:
        waiting = _waiting(known)
        put: Action | None = "acknowledge" if told(known) else "trigger" if waiting else None
        return Decision(put, supersede=waiting)
    if not acknowledges:
        return Decision()
    calls = {row.revision for row in known if row.action == "trigger" and not told(known)}
    if not told(known) and not any(row.state in LIVE for row in known):
        return Decision()
    return Decision("acknowledge", supersede=tuple(one for one in _waiting(known) if one not in calls))


def on_resolve(known: Sequence[Known]) -> Decision:
    """What the end of an incident means for a receiver: owed to whoever was told, and to nobody else."""
    if told(known):
        return Decision("resolve", supersede=_waiting(known))
    return Decision("resolve", put_state="superseded", supersede=_waiting(known), reason=OVER_BEFORE_TOLD)


def _waiting(known: Sequence[Known]) -> tuple[int, ...]:
    return tuple(row.revision for row in known if row.state in ("pending", "unknown"))
