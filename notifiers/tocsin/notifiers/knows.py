"""What each receiver knows of an incident, and why it knows nothing: from its deliveries and their attempts. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tocsin.notifiers.case import LIVE, Case
from tocsin.notifiers.node import Node
from tocsin.notifiers.spans import span_text


@dataclass(frozen=True)
class Tried:
    """An attempt, as far as people ask for it."""

    at: datetime
    outcome: str
    status: int | None
    took_ms: int
    waited_ms: int
    reason: str | None


@dataclass(frozen=True)
class Sent:
    """A delivery with its attempts, the oldest first. `due`: when the next one may begin, of one that is under way."""

    id: str
    receiver: str
    revision: int
    action: str
    state: str
    due: datetime
    since: datetime
    updated: datetime
    tries: int
    maybe_told: bool
    reason: str | None
    attempts: tuple[Tried, ...] = ()


@dataclass(frozen=True)
class Knows:
    """What one receiver knows of an incident. `told`: yes, no, or maybe (a try got no answer)."""

    receiver: str
    told: Literal["yes", "no", "maybe"]
    why: str


def knowing(case: Case, node: Node, sent: Sequence[Sent], storms: Mapping[str, str]) -> list[Knows]:
    """What each receiver knows: whom the node names, whom escalation may call, and whoever had a delivery, by name.

    `storms` are the incidents that speak for this one, by receiver.
    """
    called = {name for _, step in node.escalation for name in step}
    names = {*node.receivers, *called, *storms, *(one.receiver for one in sent)}
    return [_knows(name, case, node, [one for one in sent if one.receiver == name], storms) for name in sorted(names)]


def answer(case: Case, people: Sequence[Knows], storms: Mapping[str, str]) -> str:
    """The whole in one sentence; `storms` as above. Whether a storm was told is its own story."""
    told = [one.receiver for one in people if one.told != "no"]
    spoken = [name for name in storms if name not in told]
    by = "; ".join(f"in a storm, incident {storms[name][:8]}: {name}" for name in spoken)
    if told:
        left = [one.receiver for one in people if one.told == "no" and one.receiver not in spoken]
        not_told = f"not told: {', '.join(left)}" if left else ""
        return "; ".join(part for part in (f"told: {', '.join(told)}", by, not_told) if part)
    if spoken:
        return f"not told alone; {by}"
    if case.state == "dropped":
        return "nobody was told: it was over before its first word"
    if case.suppressed:
        return f"nobody was told: {case.suppressed}"
    if case.state == "waiting":
        return "nobody is told yet: its group still waits for more"
    why = dict.fromkeys(f"{one.receiver}: {one.why}" for one in people)
    return f"nobody was told: {'; '.join(why) or 'it has no receivers'}"


def _knows(name: str, case: Case, node: Node, sent: Sequence[Sent], storms: Mapping[str, str]) -> Knows:
    taken = [one for one in sent if one.state == "delivered"]
    if taken:
        return Knows(name, "yes", _told(taken, sent))
    if any(one.maybe_told for one in sent):
        return Knows(name, "maybe", f"{_state(sent[-1])}; a try got no answer, so it may have arrived")
    if name in storms:
        return Knows(name, "no", f"a storm speaks for it: incident {storms[name]}")
    if sent:
        return Knows(name, "no", _state(sent[-1]))
    return Knows(name, "no", _untold(name, case, node))


def _told(taken: Sequence[Sent], sent: Sequence[Sent]) -> str:
    first, last = taken[0], taken[-1]
    more = f", last {last.action} at {_clock(last.updated)}" if last is not first else ""
    newer = [one for one in sent if one.revision > last.revision and one.state != "superseded"]
    then = f"; then {_state(newer[-1])}" if newer else ""
    return f"{first.action} at {_clock(first.updated)}{more}{then}"


def _state(sent: Sent) -> str:
    """How far a delivery has come."""
    because = f": {sent.reason}" if sent.reason else ""
    tries = "1 try" if sent.tries == 1 else f"{sent.tries} tries"
    match sent.state:
        case "dead":
            return (
                f"{sent.action} is dead after {tries}{because}; `tocsin delivery redrive {sent.id[:8]}` sends it again"
            )
        case "superseded":
            return f"{sent.action} was not sent{because}"
        case "pending" if not sent.tries:
            return f"{sent.action} waits for a dispatcher since {_clock(sent.since)}"
        case _:
            return f"{sent.action} is {sent.state} after {tries}{because}"


def _untold(name: str, case: Case, node: Node) -> str:
    steps = [place for place, (_, step) in enumerate(node.escalation) if name in step]
    if name not in node.receivers and steps:
        return _not_called(steps[0], case, node)
    if case.state == "dropped":
        return "it was over before its first word"
    if case.suppressed:
        return case.suppressed
    if case.state == "waiting":
        return f"its group waits until {_clock(case.wait_until)}" if case.wait_until else "its group waits"
    return "it is told of what comes from now on" if case.state in LIVE else "it was over before it was told"


def _not_called(step: int, case: Case, node: Node) -> str:
    of = f"step {step + 1} of {len(node.escalation)}"
    if case.state == "acknowledged":
        return f"{of} of escalation was not reached: {case.acked_by} is at it"
    if case.state not in LIVE:
        return f"{of} of escalation was not reached before the end"
    after = span_text(timedelta(seconds=node.escalation[step][0]))
    return f"{of} of escalation is not reached yet, {after} after the first word"


def _clock(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"
