"""Automations on record: an apply that changes nothing writes nothing, every change is an event and a new revision."""

from datetime import timedelta
from uuid import UUID

import pytest
from pydantic import SecretStr
from sqlmodel import select

from tests.automations.parts import START, calling, quiet, told
from tocsin.automations import Automation, CallWebhook
from tocsin.automations.store import apply, changes, enable, get, list_automations, remove, revision
from tocsin.automations.tables import StoredAutomation, TriggerState
from tocsin.events.errors import Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.store.engine import Store
from tocsin.triggers import EventTrigger

LATER = START + timedelta(hours=1)


def applied(store: Store, *automations: Automation) -> list[str]:
    with store.begin() as session:
        return [one.change for one in apply(session, automations, LATER)]


def revision_of(store: Store) -> int:
    with store.read() as session:
        return revision(session)


def test_an_apply_upserts_by_name_and_leaves_the_same_alone(store: Store) -> None:
    assert applied(store, quiet("a", "x"), quiet("b", "x")) == ["created", "created"]
    assert applied(store, quiet("a", "x"), quiet("b", "y")) == ["unchanged", "updated"]
    assert [event.event.rsplit(".")[-1] for event in told(store)] == ["created", "created", "updated"]
    assert revision_of(store) == 2
    with store.read() as session:
        assert [one.automation for one in list_automations(session)] == [quiet("a", "x"), quiet("b", "y")]
        assert get(session, "b").automation == quiet("b", "y")


def test_an_apply_that_changes_nothing_writes_nothing(store: Store) -> None:
    applied(store, quiet("a", "x"))
    before = revision_of(store), len(told(store))
    assert applied(store, quiet("a", "x")) == ["unchanged"]
    assert (revision_of(store), len(told(store))) == before


def test_what_was_switched_off_stays_off_until_a_file_says_otherwise(store: Store) -> None:
    applied(store, quiet("a", "x"))
    with store.begin() as session:
        assert enable(session, "a", False, LATER) == "updated"
        assert enable(session, "a", False, LATER) == "unchanged"
    assert applied(store, quiet("a", "y")) == ["updated"]
    with store.read() as session:
        assert not get(session, "a").automation.enabled
    assert applied(store, quiet("a", "y").model_copy(update={"enabled": True})) == ["updated"]
    with store.read() as session:
        assert get(session, "a").automation.enabled


def test_a_removed_automation_leaves_no_state(store: Store) -> None:
    applied(store, quiet("a", "x"))
    with store.begin() as session:
        state = TriggerState(id=get_id(), automation="a", key=[], state={}, updated=START)
        session.add(state)
    with store.begin() as session:
        remove(session, "a", LATER)
    with store.read() as session:
        assert list(session.exec(select(TriggerState))) == []
    assert told(store)[-1].event == "tocsin.automation.deleted"
    with store.begin() as session, pytest.raises(NotFound, match=r'unknown automation "a"; known: none'):
        remove(session, "a", LATER)


def get_id() -> UUID:

    return uuid7()


def test_secrets_are_sealed_in_the_database(store: Store) -> None:
    action = CallWebhook(url="http://a", secret=SecretStr("whsec_hush"), headers={"authorization": SecretStr("hush")})
    automation = Automation(name="a", trigger=EventTrigger(expect={"x"}), actions=[action])
    assert applied(store, automation) == ["created"]
    assert applied(store, automation) == ["unchanged"]
    with store.read() as session:
        row = session.exec(select(StoredAutomation)).one()
        assert "hush" not in str(row)
    assert "hush" not in str(told(store))


REFUSED = [
    pytest.param([quiet("a", "x"), quiet("a", "y")], "defined twice", id="two of a name"),
    pytest.param([quiet("tocsin.mine", "x")], "tocsin's own", id="a name of ours"),
]


@pytest.mark.parametrize(("automations", "reason"), REFUSED)
def test_names_are_one_s_own(store: Store, automations: list[Automation], reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        applied(store, *automations)


def test_hosts_load_the_built_in_ones_too(store: Store) -> None:
    applied(store, calling("a", "x"))
    with store.read() as session:
        assert [one.name for one in changes(session, -1).put] == ["tocsin.schedules", "a"]


def test_one_that_this_version_cannot_read_stops_no_other(store: Store) -> None:
    applied(store, quiet("a", "x"), quiet("b", "x"))
    with store.begin() as session:
        row = session.exec(select(StoredAutomation).where(StoredAutomation.name == "a")).one()
        row.definition = {"name": "a"}
        session.add(row)
    with store.read() as session:
        assert [one.name for one in changes(session, -1).put] == ["tocsin.schedules", "b"]
