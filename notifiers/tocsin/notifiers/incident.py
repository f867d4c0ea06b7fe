"""The state machine of an incident: what follows from what has come, and what has to be said. Pure.

```text
waiting ──group_wait──▶ open ──ack──▶ acknowledged ──unack, expiry──▶ open
   │                      │ ▲               │
   │ nothing fires        │ │ fires again: a flap
   ▼                      ▼ │               ▼
dropped                 settling ──resolve_wait──▶ resolved          news that nothing resolves: waiting ──▶ told
```

A suppression stops first words, updates, repeats and escalation; never the resolve of what was told, nor acknowledging.
"""

from datetime import datetime, timedelta
from functools import reduce
from typing import Final, Literal, get_args

from msgspec.structs import replace

from tocsin.notifiers.act import Acknowledge, Resolve, Silence, Unacknowledge
from tocsin.notifiers.case import LIVE, Case, Fact, Moment, Move, Payload, Whom, Word
from tocsin.notifiers.node import Node
from tocsin.notifiers.view import Action, Severity

RECHECK: Final = timedelta(minutes=5)
NEXT_ROUND: Final = timedelta(minutes=1)
_SOON: Final = timedelta(seconds=1)
_SEVERITIES: Final[tuple[Severity, ...]] = get_args(Severity)


def begin(node: Node, now: datetime, *, lasting: bool, flaps: tuple[datetime, ...] = (), over: bool = False) -> Case:
    """A new incident before its first alert. `flaps` are those of the episode before; `over`: that had an end."""
    window = now - timedelta(seconds=node.flap_window_s)
    kept = tuple(at for at in (*flaps, *((now,) if over else ())) if at > window)
    return Case(opened=now, lasting=lasting, wait_until=now + _s(node.group_wait_s), flaps=kept)


def advance(case: Case, node: Node, moment: Moment) -> Move:
    """What follows from `moment`. When nothing has come and nothing is due, nothing does."""
    if case.state == "told":
        return _retold(case, moment)
    if case.state not in LIVE:
        return Move(case)
    steps = (_hear, _expire, _act, _open, _settle, _expire, _quieten, _tell, _update, _repeat, _escalate)
    return reduce(lambda move, step: step(move, node, moment), steps, Move(case))


def due(case: Case, node: Node) -> datetime | None:
    """When something follows although nothing comes; None when nothing will."""
    if case.state not in LIVE:
        return None
    return min((at for at in _dues(case, node) if at is not None), default=None)


def higher(one: Severity, other: Severity) -> Severity:
    """The graver of two."""
    return min(one, other, key=_SEVERITIES.index)


def _dues(case: Case, node: Node) -> tuple[datetime | None, ...]:
    match case.state:
        case "waiting":
            return (case.muted_until or case.wait_until,)
        case "settling":
            return (case.settle_at,)
        case _:
            update = case.said + _s(node.group_interval_s) if case.news and case.said else None
            told = () if case.suppressed else (update, case.repeat_at, case.escalate_at)
            return (case.ack_until, case.muted_until, *told)


def _retold(case: Case, moment: Moment) -> Move:
    """News is told once; a further receiver of it, or other words for one, are still put down."""
    move = Move(case)
    if moment.reason is not None:
        return _fact(move, "suppressed", {"reason": moment.reason}) if moment.news or moment.joining else move
    if moment.news:
        move = _say(move, "update", moment.to or "all")
    return _join(move, moment)


def _hear(move: Move, node: Node, moment: Moment) -> Move:
    case = move.case
    severity = higher(case.severity, moment.severity)
    window = moment.now - _s(node.flap_window_s)
    flaps = tuple(at for at in case.flaps if at > window)
    return _now(
        move,
        firing=moment.firing,
        severity=severity,
        news=case.news or moment.news or (severity != case.severity and case.said is not None),
        flaps=flaps,
        flapping=case.flapping and bool(flaps),
    )


def _act(move: Move, node: Node, moment: Moment) -> Move:
    match moment.act:
        case Acknowledge() as act:
            return _acknowledge(move, node, moment.now, act)
        case Unacknowledge(by=by):
            return _unacknowledge(move, node, moment, by)
        case Resolve(by=by):
            if move.case.state == "waiting":
                return _ended(move, "dropped", {"by": by, "reason": "resolved by hand before it was told"})
            return _ended(_say(move, "resolve", "told"), "resolved", {"by": by})
        case Silence() | None:
            return move


def _acknowledge(move: Move, node: Node, now: datetime, act: Acknowledge) -> Move:
    case = move.case
    if "acknowledged" in (case.state, case.was if case.state == "settling" else ""):
        return move
    if case.state == "waiting" and not case.lasting:
        return move
    if case.state == "waiting":
        move = _fact(move, "opened")
    until = act.until or (now + _s(node.ack_timeout_s) if node.ack_timeout_s else None)
    settling = case.state == "settling"
    move = _now(
        move,
        state="settling" if settling else "acknowledged",
        was="acknowledged" if settling else case.was,
        acked_by=act.by,
        ack_until=max(until, now + _SOON) if until else None,
        repeat_at=None,
        escalate_at=None,
    )
    told = _say(move, "acknowledge", "told", via=act.via) if case.said else move
    return _fact(told, "acknowledged", {"by": act.by, "via": act.via, "until": until.isoformat() if until else None})


def _unacknowledge(move: Move, node: Node, moment: Moment, by: str | None) -> Move:
    """Nobody is at it any more; `by` None: the time of the acknowledgement is over."""
    case = move.case
    if case.state == "settling" and case.was == "acknowledged":
        move = _now(move, was="open", acked_by="", ack_until=None)
    elif case.state == "acknowledged":
        clocks = {"repeat_at": _repeat_at(node, moment.now), "escalate_at": _escalate_at(case, node, moment.now)}
        move = _now(move, state="open", acked_by="", ack_until=None, **clocks)
        if case.said and moment.reason is None:
            move = _now(_say(move, "update", "all", again=True), said=moment.now, news=False)
        elif case.said:
            move = _now(move, repeat_at=moment.now)  # as soon as anything may be said again
    else:
        return move
    return _fact(move, "unacknowledged", {"by": by or "", "expired": by is None})


def _open(move: Move, node: Node, moment: Moment) -> Move:
    """The end of waiting."""
    case = move.case
    if case.state != "waiting" or (case.wait_until and moment.now < case.wait_until):
        return move
    if not case.lasting:
        return move
    if not case.firing:
        return _ended(move, "dropped", {"reason": "over before told"})
    move = _fact(_now(move, state="open", wait_until=None), "opened")
    return _flapped(move, node) if case.flaps else move


def _settle(move: Move, node: Node, moment: Moment) -> Move:
    """The last alert is over, one fires again, or it has been quiet for long enough."""
    case = move.case
    if case.state == "settling" and case.firing:
        move = _now(move, state=case.was, settle_at=None, flaps=(*case.flaps, moment.now), news=True)
        return _flapped(move, node)
    if case.state in ("open", "acknowledged") and not case.firing:
        quiet = max(node.resolve_wait_s, node.flap_quiet_s) if case.flapping else node.resolve_wait_s
        was: Literal["open", "acknowledged"] = "open" if case.state == "open" else "acknowledged"
        move = _now(move, state="settling", was=was, settle_at=moment.now + _s(quiet))
    case = move.case
    if case.state == "settling" and case.settle_at and case.settle_at <= moment.now:
        return _ended(_say(move, "resolve", "told"), "resolved", {})
    return move


def _flapped(move: Move, node: Node) -> Move:
    case = move.case
    if case.flapping or not node.flap_count or len(case.flaps) < node.flap_count:
        return move
    flapping = _now(move, flapping=True, news=case.said is not None)
    return _fact(flapping, "flapping", {"flaps": len(case.flaps), "window_s": int(node.flap_window_s)})


def _expire(move: Move, node: Node, moment: Moment) -> Move:
    case = move.case
    over = case.ack_until is not None and case.ack_until <= moment.now
    return _unacknowledge(move, node, moment, None) if over else move


def _quieten(move: Move, node: Node, moment: Moment) -> Move:
    """Begin or end a suppression, where something could be said at all."""
    case = move.case
    if case.state in ("settling", "resolved", "dropped") or _waits(case, moment.now):
        return move
    if moment.reason is not None:
        until = max(moment.until or moment.now + RECHECK, moment.now + _SOON)
        first = case.suppressed is None
        move = _now(move, suppressed=moment.reason, muted_until=until)
        told: Payload = {"reason": moment.reason, "until": until.isoformat()}
        return _fact(move, "suppressed", told) if first else move
    if case.suppressed is None:
        return move
    missed = case.escalate_at is not None and case.escalate_at <= moment.now
    again = _escalate_at(case, node, moment.now) if missed else case.escalate_at  # its people get their time anew
    return _now(move, suppressed=None, muted_until=None, escalate_at=again)


def _tell(move: Move, node: Node, moment: Moment) -> Move:
    """The first word."""
    case = move.case
    if case.said is not None:
        return _join(move, moment) if case.state in LIVE and not case.suppressed else _missed(move, moment)
    if case.suppressed or not (case.state == "open" or (case.state == "waiting" and not _waits(case, moment.now))):
        return move
    move = _now(_say(move, "trigger", node.receivers), said=moment.now, news=False)
    if not case.lasting:
        return _fact(_now(move, state="told", wait_until=None), "opened")
    clocks = {"repeat_at": _repeat_at(node, moment.now), "escalate_at": _escalate_at(case, node, moment.now)}
    return _now(move, **clocks)


def _join(move: Move, moment: Moment) -> Move:
    if not moment.joining:
        return move
    word = Word("trigger", moment.joining, move.case.revision)
    return replace(move, words=(*move.words, word))


def _missed(move: Move, moment: Moment) -> Move:
    """Whoever joins while nothing may be said hears of it with the next news."""
    return _now(move, news=True) if moment.joining else move


def _update(move: Move, node: Node, moment: Moment) -> Move:
    case = move.case
    if not case.news or not _may_speak(case) or case.said is None:
        return move
    repeats = case.state == "open" and case.repeat_at is not None and case.repeat_at <= moment.now
    if repeats or moment.now < case.said + _s(node.group_interval_s):
        return move  # a repeat tells the news too
    return _now(_say(move, "update", moment.to or "all"), said=moment.now, news=False)


def _repeat(move: Move, node: Node, moment: Moment) -> Move:
    case = move.case
    if case.state != "open" or case.suppressed or case.repeat_at is None or moment.now < case.repeat_at:
        return move
    move = _say(move, "repeat", "all")
    return _now(move, said=moment.now, news=False, repeat_at=_repeat_at(node, moment.now))


def _escalate(move: Move, node: Node, moment: Moment) -> Move:
    case = move.case
    if case.state != "open" or case.suppressed or case.escalate_at is None or moment.now < case.escalate_at:
        return move
    if case.level >= len(node.escalation):  # the route was made shorter
        return _now(move, escalate_at=None)
    receivers = node.escalation[case.level][1]
    move = _now(_say(move, "trigger", receivers, again=True), level=case.level + 1)
    step = case.rounds * len(node.escalation) + case.level + 1
    move = _fact(move, "escalated", {"level": step, "receivers": list(receivers)})
    return _escalate(_now(move, **_next_step(move.case, node, moment.now)), node, moment)


def _next_step(case: Case, node: Node, now: datetime) -> dict[str, int | datetime | None]:
    if case.level < len(node.escalation):
        gap = node.escalation[case.level][0] - node.escalation[case.level - 1][0]
        return {"escalate_at": now + _s(max(gap, 0))}
    if case.rounds < node.escalation_repeat:
        first = max(_s(node.escalation[0][0]), NEXT_ROUND)
        return {"level": 0, "rounds": case.rounds + 1, "escalate_at": now + first}
    return {"escalate_at": None}


def _escalate_at(case: Case, node: Node, now: datetime) -> datetime | None:
    return now + _s(node.escalation[case.level][0]) if case.level < len(node.escalation) else None


def _repeat_at(node: Node, now: datetime) -> datetime | None:
    return now + _s(node.repeat_interval_s) if node.repeat_interval_s else None


def _may_speak(case: Case) -> bool:
    return case.state in ("open", "acknowledged") and not case.suppressed


def _waits(case: Case, now: datetime) -> bool:
    return case.state == "waiting" and case.wait_until is not None and now < case.wait_until


def _ended(move: Move, state: Literal["resolved", "dropped"], payload: dict[str, str]) -> Move:
    over = _now(
        move,
        state=state,
        news=False,
        wait_until=None,
        settle_at=None,
        repeat_at=None,
        escalate_at=None,
        ack_until=None,
        suppressed=None,
        muted_until=None,
    )
    return _fact(over, state, dict(payload))


def _say(move: Move, action: Action, to: Whom, *, again: bool = False, via: str = "") -> Move:
    revision = move.case.revision + 1
    words = (*move.words, Word(action, to, revision, again, via))
    return replace(move, case=replace(move.case, revision=revision), words=words)


def _fact(move: Move, name: str, payload: Payload | None = None) -> Move:
    return replace(move, facts=(*move.facts, Fact(name, payload or {})))


def _now(move: Move, **changed: object) -> Move:
    return replace(move, case=replace(move.case, **changed))


def _s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
