"""What happened in the demo, read from the database; and, as a pure function, what of the story is missing."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import ColumnElement
from sqlmodel import Session, col, func, select
from sqlmodel.sql.expression import SelectOfScalar

from tocsin.automations.tables import StoredFiring, StoredInvocation
from tocsin.events.topics import DEAD_LETTERS, EVENTS, EXTERNAL
from tocsin.flows.tables import FlowRun, TaskRun
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.server.demo.rules import DASHBOARD, ETL, PAGER, SLACK
from tocsin.store import positions
from tocsin.store.log import STREAM
from tocsin.store.tables import LogEntry

HOST: Final = "automations"
ROUTER: Final = "automations-route"
REPORT: Final = "orders.repaired"
_OPEN: Final = ("pending", "sending", "unknown")


@dataclass(frozen=True, slots=True)
class Facts:
    """Counts of what the database holds when it is asked.

    `runs`: deployment → name of state → how many; `attempts` and `tasks`: how often the ETL was begun, and each of its
    tasks was completed; `told`: receiver → action → how many deliveries arrived; `refused`: why actions were not taken
    (a retry of a run that runs again already); `lost`: what nobody has evaluated, performed or told yet, and what was
    given up.
    """

    events: int
    reported: int
    firings: int
    invocations: dict[str, int]
    runs: dict[str, dict[str, int]]
    attempts: int
    tasks: dict[str, int]
    told: dict[str, dict[str, int]]
    incidents: dict[str, int]
    refused: list[str | None]
    lost: int
    waiting: dict[str, int] = field(default_factory=dict)


def missing(facts: Facts) -> list[str]:
    """What has not happened yet of the story, in its order; empty when all of it has."""
    completed = facts.runs.get(ETL, {}).get("Completed", 0)
    checks = (
        (facts.attempts >= 2, "the ETL has not been tried again"),
        (facts.told.get(PAGER, {}).get("trigger") == 1, "PagerDuty has not been told once that it burns"),
        (facts.told.get(SLACK, {}).get("trigger") == 1, "Slack has not been told once that it burns"),
        (facts.invocations.get("retry-flow-run", 0) >= 1, "no retry was applied"),
        (facts.reported >= 1, "nobody reported the repair"),
        (completed == 1, "the ETL has not completed"),
        (facts.tasks.get("extract-orders") == 1, "extract-orders was not run exactly once"),
        (facts.told.get(PAGER, {}).get("resolve") == 1, "PagerDuty has not been told that it is over"),
        (facts.told.get(SLACK, {}).get("resolve") == 1, "Slack has not been told that it is over"),
        (facts.runs.get(DASHBOARD, {}) == {"Completed": 1}, "refresh-dashboard has not run exactly once"),
        (not facts.incidents.get("open"), "an incident is still open"),
        (facts.lost == 0, f"not finished: {facts.waiting or facts.lost}"),
    )
    return [words for holds, words in checks if not holds]


def gather(session: Session) -> Facts:
    """The facts as the database holds them now."""
    waiting = _waiting(session)
    return Facts(
        events=_count(session, select(func.count()).select_from(LogEntry).where(_public())),
        reported=_count(session, select(func.count()).select_from(LogEntry).where(col(LogEntry.event) == REPORT)),
        firings=_count(session, select(func.count()).select_from(StoredFiring)),
        invocations=dict(Counter(session.exec(select(StoredInvocation.action).where(_done())).all())),
        runs=_runs(session),
        attempts=max(session.exec(select(FlowRun.attempt).where(FlowRun.deployment == ETL)).all(), default=0),
        tasks=_completions(session),
        told=_told(session),
        incidents=dict(Counter(session.exec(select(Incident.state)).all())),
        refused=list(session.exec(select(StoredInvocation.reason).where(StoredInvocation.state == "failed"))),
        lost=sum(waiting.values()),
        waiting={name: count for name, count in waiting.items() if count},
    )


def _waiting(session: Session) -> dict[str, int]:
    letters = select(func.count()).select_from(LogEntry).where(LogEntry.topic == DEAD_LETTERS)
    return {
        "events not evaluated": _behind(session),
        "dead letters": _count(session, letters),
        "invocations not done": _count(session, select(func.count()).where(col(StoredInvocation.state) == "due")),
        "deliveries waiting": _count(session, select(func.count()).where(col(Delivery.state).in_(_OPEN))),
        "deliveries given up": _count(session, select(func.count()).where(col(Delivery.state) == "dead")),
    }


def _behind(session: Session) -> int:
    """Events that the host has not evaluated: by number on the log, by count on a bus that the log is relayed to."""
    reached = positions.offsets(session, HOST) or positions.offsets(session, ROUTER)
    waiting = select(func.count()).select_from(LogEntry).where(_public())
    if place := reached.get((STREAM, 0)):
        return _count(session, waiting.where(col(LogEntry.seq) >= place))
    return max(0, _count(session, waiting) - sum(reached.values()))


def _runs(session: Session) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for deployment, state in session.exec(select(FlowRun.deployment, FlowRun.state_name)):
        if deployment:
            counts = found.setdefault(deployment, {})
            counts[state] = counts.get(state, 0) + 1
    return found


def _completions(session: Session) -> dict[str, int]:
    """How often each task was completed, by the events that say so."""
    told = session.exec(select(LogEntry.key).where(LogEntry.event == "tocsin.task-run.Completed")).all()
    names = {f"tocsin.task-run.{key}": name for key, name in session.exec(select(TaskRun.id, TaskRun.name))}
    return dict(Counter(names[key].rpartition("-")[0] for key in told))


def _told(session: Session) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    rows = session.exec(select(Delivery.receiver, Delivery.action).where(col(Delivery.state) == "delivered"))
    for receiver, action in rows:
        counts = found.setdefault(receiver, {})
        counts[action] = counts.get(action, 0) + 1
    return found


def _public() -> ColumnElement[bool]:
    return col(LogEntry.topic).in_((EVENTS, EXTERNAL))  # what the host has to evaluate


def _done() -> ColumnElement[bool]:
    return col(StoredInvocation.state) == "done"


def _count(session: Session, statement: SelectOfScalar[int]) -> int:
    return session.exec(statement).one()
