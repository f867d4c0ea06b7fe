"""Turns: incidents whose due time has come are advanced, by any number of processes on one database."""

from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session, col, select

from tocsin.notifiers.case import Moment
from tocsin.notifiers.episodes import Carried, carry, put_down
from tocsin.notifiers.redact import redacted_logger
from tocsin.notifiers.tables import Incident
from tocsin.notifiers.take import take_echoes
from tocsin.notifiers.view import read_severity
from tocsin.store.engine import AWAY, claimable

BATCH: Final = 50
AGAIN: Final = timedelta(minutes=1)

_LOG = redacted_logger("tocsin.notifiers.turns")


def take_turns(session: Session, now: datetime, limit: int = BATCH) -> int:
    """Advance the incidents that are due, the longest due first; how many. Those that others hold are left to them."""
    due = select(Incident).where(col(Incident.due) <= now).order_by(col(Incident.due), col(Incident.id))
    rows = session.exec(claimable(session, due.limit(limit))).all()
    carried = [_advanced(session, row, now) for row in rows]
    figures = [figure for one in carried for figure in one.figures]
    put_down(session, [event for one in carried for event in one.events], figures)
    take_echoes(session, [echo for one in carried for echo in one.echoes], now)
    return len(rows)


def _advanced(session: Session, row: Incident, now: datetime) -> Carried:
    """One turn; one that goes wrong is undone, tried again later, and hurts no other."""
    try:
        with session.begin_nested():
            return carry(session, row, Moment(now=now, firing=row.firing, severity=read_severity(row.severity)))
    except AWAY:
        raise
    except Exception:  # whatever it is, it is this incident's alone; the auditor does not see it, the log does
        _LOG.exception("incident %s cannot be advanced, it is tried again in a minute", row.id)
        row.due = now + AGAIN
        session.add(row)
        return Carried([], [], [])
