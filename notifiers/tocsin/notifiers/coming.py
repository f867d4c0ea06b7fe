"""What comes next of an incident and its deliveries, if nothing else comes before it. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from tocsin.notifiers.case import Case
from tocsin.notifiers.delivery import LIVE as UNDER_WAY
from tocsin.notifiers.knows import Sent
from tocsin.notifiers.node import Node

NOBODY: Final[Mapping[str, datetime]] = {}


@dataclass(frozen=True)
class Coming:
    """What follows, and when, if nothing else comes before it."""

    at: datetime
    what: str


def coming(case: Case, node: Node, sent: Sequence[Sent] = (), waits: Mapping[str, datetime] = NOBODY) -> list[Coming]:
    """What comes next of an incident, and of its deliveries, the first first; `waits`: who asked to be left alone."""
    tries = (_try(one, waits.get(one.receiver)) for one in sent if one.state in UNDER_WAY)
    return sorted((*_turns(case, node), *tries), key=lambda one: one.at)


def _turns(case: Case, node: Node) -> Iterator[Coming]:
    match case.state:
        case "waiting" if case.muted_until:
            yield Coming(case.muted_until, f"it is looked at again; {case.suppressed}")
        case "waiting" if case.wait_until:
            yield Coming(case.wait_until, f"its first word, to {_names(node.receivers)}, unless it is over by then")
        case "settling" if case.settle_at:
            yield Coming(case.settle_at, "it is resolved, unless it fires again")
        case "open" | "acknowledged":
            yield from _open_turns(case, node)
        case _:
            return


def _open_turns(case: Case, node: Node) -> Iterator[Coming]:
    if case.ack_until:
        yield Coming(case.ack_until, f"the acknowledgement by {case.acked_by} ends, and escalation goes on")
    if case.suppressed:
        if case.muted_until:
            yield Coming(case.muted_until, f"it is looked at again; {case.suppressed}")
        return
    if case.muted_until:
        yield Coming(case.muted_until, "what is silenced in it is looked at again")
    if case.news and case.said:
        yield Coming(case.said + _s(node.group_interval_s), "what is new is told")
    if case.repeat_at:
        yield Coming(case.repeat_at, "it is told again, unless somebody is at it")
    if case.escalate_at and case.level < len(node.escalation):
        step = node.escalation[case.level][1]
        count = f"step {case.level + 1} of {len(node.escalation)}"
        yield Coming(case.escalate_at, f"escalation, {count}: {_names(step)}, unless somebody is at it")


def _try(sent: Sent, not_before: datetime | None) -> Coming:
    at = max(sent.due, not_before) if not_before else sent.due
    what = f"{sent.receiver}: {sent.action}"
    if sent.state == "sending":
        return Coming(sent.due, f"{what} is being sent; it is taken up again if nothing is heard of it by then")
    held = ", which asked to be left alone until then" if at == not_before else ""
    return Coming(at, f"{what}, try {sent.tries + 1}{held}")


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "nobody"


def _s(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)
