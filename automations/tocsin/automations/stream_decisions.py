"""Decisions on their way from the partition that made them to the database: what lies on `tocsin.invocations`."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import groupby
from typing import Final

import msgspec

from tocsin.automations.recording import KEPT_A_BATCH, Decision, Decisions
from tocsin.automations.trace import Evaluation
from tocsin.events.errors import BadEvent
from tocsin.events.ids import derive
from tocsin.events.model import RESOURCE_ID, RESOURCE_NAME, Event
from tocsin.triggers.steps import Firing

RECORD_BYTES: Final = 500_000
DECISION_BYTES: Final = 1_800_000


class Told(Decisions):
    """Decisions and counts of one record. `routed` says how far a router has come: stream, partition, next offset;
    `notices` are events of the processor's own.
    """

    routed: tuple[tuple[str, int, int], ...] = ()
    notices: tuple[Event, ...] = ()


class _Record(msgspec.Struct, omit_defaults=True):
    """Decisions that are encoded one by one, so that a record is closed before it is too large."""

    firings: list[msgspec.Raw] = []


_encode: Final = msgspec.json.Encoder().encode
_decoder: Final = msgspec.json.Decoder(Told)


def records(firings: Sequence[Decision]) -> list[bytes]:
    """The records that carry these decisions, in their order."""
    found: list[_Record] = []
    size = RECORD_BYTES
    for one in firings:
        body = _encoded(one)
        if size + len(body) > RECORD_BYTES:
            found.append(_Record())
            size = 0
        size += len(body)
        found[-1].firings.append(msgspec.Raw(body))
    return [_encode(one) for one in found]


def tally(
    traces: Sequence[Evaluation] = (),
    concerned: Counter[str] | None = None,
    events: int = 0,
    errors: Mapping[str, tuple[int, str]] | None = None,
    routed: Sequence[tuple[str, int, int]] = (),
    notices: Sequence[Event] = (),
) -> bytes:
    """The record that carries what is counted, and why the rest fired nothing."""
    return _encode(
        Told(
            traces=_newest(traces),
            events=events,
            concerned=dict(concerned or {}),
            errors=dict(errors or {}),
            routed=tuple(routed),
            notices=tuple(notices),
        )
    )


def overflowed(name: str, partition: int, signals: int, now: datetime) -> Event:
    """`tocsin.automation.overflowed`: signals of new keys were refused, for the partition remembers all it may.

    One a minute at most for each automation and partition.
    """
    return Event(
        id=derive("overflowed", name, partition, now.replace(second=0, microsecond=0).isoformat()),
        event="tocsin.automation.overflowed",
        occurred=now,
        resource={RESOURCE_ID: f"tocsin.automation.{name}", RESOURCE_NAME: name},
        payload={
            "partition": partition,
            "signals": signals,
            "way_out": "fewer keys (for_each), a shorter within; or more partitions of tocsin.signals and processors",
        },
    )


def decisions(body: bytes) -> Told:
    """The decisions in a record. Raises `BadEvent` when they are none."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(f"not decisions: {error}") from error


def together(found: Iterable[Decisions]) -> Decisions:
    """Several as one, in their order."""
    one = Decisions()
    concerned: Counter[str] = Counter()
    for each in found:
        one.firings += each.firings
        one.traces += each.traces
        one.events += each.events
        concerned.update(each.concerned)
        for name, (count, reason) in each.errors.items():
            one.errors[name] = one.errors.get(name, (0, ""))[0] + count, reason
    one.concerned = dict(concerned)
    return one


def _encoded(decision: Decision) -> bytes:
    """A decision's bytes; the invocations of one that no record would take are refused with the reason."""
    brief = msgspec.structs.replace(decision, firing=_brief(decision.firing))
    body = _encode(brief)
    if len(body) <= DECISION_BYTES:
        return body
    reason = f"what it has to carry is too large for the bus: {len(body):,} bytes; put less of the event into it"
    refused = tuple(replace(one, arguments={}, refused=one.refused or reason) for one in decision.invocations)
    return _encode(msgspec.structs.replace(brief, invocations=refused))


def _brief(firing: Firing) -> Firing:
    """A firing without its event's payload: what has to be told of that stands in the event and the invocations."""
    if firing.event is None or not firing.event.payload:
        return firing
    return msgspec.structs.replace(firing, event=msgspec.structs.replace(firing.event, payload={}))


def _newest(traces: Sequence[Evaluation]) -> list[Evaluation]:
    """The newest of each automation, for more are not kept; those that came late are counted, all of them."""
    ordered = sorted(traces, key=lambda one: one.automation)
    kept: list[Evaluation] = []
    for _, group in groupby(ordered, key=lambda one: one.automation):
        mine = list(group)
        kept += [one for one in mine[:-KEPT_A_BATCH] if one.verdict.outcome == "late"]
        kept += mine[-KEPT_A_BATCH:]
    return kept
