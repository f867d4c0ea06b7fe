"""The auditor sees each breach that is planted, tells of it once, and sees none where there is none."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlmodel import Session, select

from tests.notifiers.office import Office
from tests.notifiers.test_acts import ONCALL
from tocsin.events.clock import ManualClock
from tocsin.notifiers import audit
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.store.engine import Store


@pytest.fixture
def office(store: Store, clock: ManualClock) -> Office:
    office = Office(store, clock)
    office.furnish(ONCALL.model_copy(update={"resolve_wait": timedelta(minutes=5)}))
    office.fire("etl", "dashboard")
    office.tell()
    office.over("dashboard")
    return office


def found(office: Office) -> list[str]:
    with office.store.begin() as session:
        return [violation.rule for violation in audit.report(session, office.clock.now())]


def settling(session: Session) -> Incident:
    return session.exec(select(Incident).where(Incident.state == "settling")).one()


def forget_to_settle(session: Session, office: Office) -> None:
    office.clock.advance(timedelta(minutes=7))


def lose_a_resolve(session: Session, office: Office) -> None:
    incident = settling(session)
    incident.state, incident.resolved, incident.due = "resolved", office.clock.now(), None


def lose_a_lease(session: Session, office: Office) -> None:
    session.exec(select(Delivery)).first().state = "sending"  # type: ignore[union-attr]


def stop_sending(session: Session, office: Office) -> None:
    row = session.exec(select(Delivery)).first()
    assert row is not None
    row.state, row.lease, row.due = "sending", row.id, office.clock.now() - timedelta(minutes=2)


def miscount(session: Session, office: Office) -> None:
    settling(session).firing = 7


@pytest.mark.parametrize(
    ("breach", "rules"),
    [
        pytest.param(forget_to_settle, ["overdue"], id="nobody takes its turn"),
        pytest.param(lose_a_resolve, ["resolve-owed"] * 3, id="told, and not that it is over"),
        pytest.param(lose_a_lease, ["no-lease"], id="sent by nobody"),
        pytest.param(stop_sending, ["no-lease"], id="its lease is long over"),
        pytest.param(miscount, ["count"], id="counts other alerts than there are"),
    ],
)
def test_a_breach_is_seen_and_told_once(
    office: Office, breach: Callable[[Session, Office], None], rules: list[str]
) -> None:
    assert found(office) == []
    with office.store.begin() as session:
        breach(session, office)
    assert found(office) == found(office) == rules
    told = office.events("tocsin.audit.violation")
    assert [event.payload["rule"] for event in told] == rules[:1]


def test_where_all_is_well_nothing_is_found(office: Office) -> None:
    office.pass_time(600)
    office.tell()
    office.over("etl")
    office.pass_time(600)
    assert found(office) == []
