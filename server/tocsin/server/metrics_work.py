"""How work fares, for Prometheus: runs that wait and are at work, how late they begin, slots and waits for them."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import select as columns
from sqlmodel import Session, col, func, select

from tocsin.flows.limit_tables import ConcurrencyLimit, ConcurrencySlot
from tocsin.flows.states import FINAL, StateType
from tocsin.flows.tables import FlowRun
from tocsin.server.metric_forms import Shown, age, counter, gauge
from tocsin.server.run_reads import NAMES
from tocsin.store.elapsed import seconds_between

_OPEN: Final = sorted(kind.value for kind in StateType if kind not in FINAL)
_AHEAD: Final = timedelta(days=1)
"""Runs that were asked for longer ahead are not looked for: the index is by when they were made."""


class Lateness(NamedTuple):
    """Of how many runs of a pool, and by how many seconds they began later than scheduled: on average, at the most."""

    pool: str
    runs: int
    mean_s: float
    most_s: float


class Slots(NamedTuple):
    """A limit: its slots, those taken and wanted, how often somebody had to wait, and for how long all together."""

    limit: str
    there: int
    taken: int
    wanted: int
    waits: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class Work:
    """Runs that are not over by pool and state; those that nobody took, since when; lateness; slots."""

    runs: list[tuple[str, str, int]]
    overdue: list[tuple[str, datetime]]
    lateness: list[Lateness]
    slots: list[Slots]


def at_work(session: Session, now: datetime, since: datetime) -> Work:
    """What is on record at `now`; lateness of the runs that began after `since`."""
    return Work(_runs(session), _overdue(session, now), _lateness(session, since), _slots(session))


def shown(work: Work, now: datetime) -> Iterator[Shown]:
    """The metrics of it."""
    there = [((pool, state), float(count)) for pool, state, count in work.runs]
    yield gauge("tocsin_flow_runs", "Runs of deployments that are not over.", ("pool", "state"), there)
    overdue = [((pool,), age(since, now)) for pool, since in work.overdue]
    text = "How long the run that is due longest has waited for a worker."
    yield gauge("tocsin_flow_runs_overdue_seconds", text, ("pool",), overdue)
    text = "Runs that began in the last hour."
    yield gauge("tocsin_flow_runs_begun", text, ("pool",), [((late.pool,), late.runs) for late in work.lateness])
    text = "How much later than scheduled these began, on average."
    means = [((late.pool,), late.mean_s) for late in work.lateness]
    yield gauge("tocsin_flow_run_lateness_mean_seconds", text, ("pool",), means)
    text = "How much later than scheduled the latest of them began."
    yield gauge(
        "tocsin_flow_run_lateness_max_seconds", text, ("pool",), [((late.pool,), late.most_s) for late in work.lateness]
    )
    yield from _limits(work.slots)


def _limits(slots: list[Slots]) -> Iterator[Shown]:
    yield gauge("tocsin_slots", "Slots of a limit.", ("limit",), [((one.limit,), one.there) for one in slots])
    taken = [((one.limit,), one.taken) for one in slots]
    yield gauge("tocsin_slots_taken", "Slots that somebody holds.", ("limit",), taken)
    wanted = [((one.limit,), one.wanted) for one in slots]
    yield gauge("tocsin_slots_wanted", "Slots that somebody waits for.", ("limit",), wanted)
    waits = [((one.limit,), one.waits) for one in slots]
    yield counter("tocsin_slot_waits", "Times that somebody had to wait for a slot.", ("limit",), waits)
    waited = [((one.limit,), one.waited_s) for one in slots]
    yield counter("tocsin_slot_wait_seconds", "How long all of them together waited.", ("limit",), waited)


def _runs(session: Session) -> list[tuple[str, str, int]]:
    """By pool and state; a state's name that a person has made up counts as its type."""
    key = col(FlowRun.work_pool), col(FlowRun.state_name), col(FlowRun.state_type)
    there = columns(*key, func.count()).where(col(FlowRun.state_type).in_(_OPEN), col(FlowRun.work_pool).is_not(None))
    counts: Counter[tuple[str, str]] = Counter()
    for pool, name, kind, count in session.connection().execute(there.group_by(*key)):
        counts[str(pool), name if name in NAMES else kind] += count
    return [(pool, state, count) for (pool, state), count in sorted(counts.items())]


def _overdue(session: Session, now: datetime) -> list[tuple[str, datetime]]:
    pool = col(FlowRun.work_pool)
    due = columns(pool, func.min(FlowRun.scheduled)).where(
        col(FlowRun.state_type) == "SCHEDULED", col(FlowRun.scheduled) <= now, pool.is_not(None)
    )
    found = session.connection().execute(due.group_by(pool).order_by(pool))
    return [(str(name), since) for name, since in found if since is not None]


def _lateness(session: Session, since: datetime) -> list[Lateness]:
    pool, late = col(FlowRun.work_pool), seconds_between(col(FlowRun.scheduled), col(FlowRun.started))
    begun = columns(pool, func.count(), func.avg(late), func.max(late)).where(
        col(FlowRun.started) >= since, col(FlowRun.created) >= since - _AHEAD, pool.is_not(None)
    )
    found = session.connection().execute(begun.group_by(pool).order_by(pool))
    return [Lateness(name, runs, max(0.0, float(mean)), max(0.0, float(most))) for name, runs, mean, most in found]


def _slots(session: Session) -> list[Slots]:
    held: dict[tuple[str, bool], int] = {}
    key = col(ConcurrencySlot.limit_key), col(ConcurrencySlot.taken).is_not(None)
    of = columns(*key, func.sum(ConcurrencySlot.slots)).group_by(*key)
    for limit, taken, slots in session.connection().execute(of):
        held[limit, bool(taken)] = int(slots)
    rows = session.exec(select(ConcurrencyLimit).order_by(col(ConcurrencyLimit.key)))
    both = [(row, held.get((row.key, True), 0), held.get((row.key, False), 0)) for row in rows]
    return [Slots(row.key, row.slots, took, wants, row.waits, row.waited_ms / 1000) for row, took, wants in both]
