"""Who was told that it fires is told that it is over, though the automation be edited or removed in between."""

from datetime import timedelta

import pytest
from sqlmodel import select

from tests.automations.parts import (
    START,
    a_clock,
    a_run,
    decided,
    define,
    firings,
    happened,
    invocations,
    told,
)
from tocsin.automations.model import Automation
from tocsin.automations.store import remove
from tocsin.automations.tables import TriggerState
from tocsin.store.engine import Store

TELL = {"type": "send-notification", "notifier": "phone"}
LATER = START + timedelta(hours=1)


def telling(**fields: object) -> Automation:
    given = {"resolve_on": {"expect": ["tocsin.flow-run.Completed"]}, "actions": [TELL], **fields}
    trigger = given.pop("trigger", {"expect": ["tocsin.flow-run.Failed"], "for_each": ["tocsin.resource.id"]})
    return Automation.model_validate({"name": "rule", "trigger": trigger, **given})


ORPHANING = [
    pytest.param({"resolve_on": None}, id="nothing resolves it any more"),
    pytest.param({"actions": []}, id="the notification is gone"),
    pytest.param({"trigger": {"expect": ["tocsin.flow-run.Failed"]}, "resolve_on": None}, id="another key"),
]


@pytest.mark.parametrize("edit", ORPHANING)
async def test_an_edit_that_would_orphan_an_incident_resolves_it(store: Store, edit: dict[str, object]) -> None:
    define(store, telling())
    await decided(store, a_clock(), a_run("Failed"))
    define(store, telling(**edit))
    first, second = sorted(firings(store), key=lambda one: one.state, reverse=True)
    assert (second.state, second.episode, second.event_id, second.key) == ("Resolved", first.id, None, first.key)
    ending = [one for one in invocations(store) if one.firing_id == second.id]
    assert [(one.action, one.arguments["action"], one.arguments["notifier"]) for one in ending] == [
        ("send-notification", "resolve", "phone")
    ]
    assert told(store, "tocsin.automation.resolved")
    with store.read() as session:
        assert [row for row in session.exec(select(TriggerState)) if row.open_firing] == []


async def test_a_removal_resolves_what_is_open_and_only_that(store: Store) -> None:
    define(store, telling())
    other = "tocsin.flow-run.00000000-0000-0000-0000-00000000000b"
    await decided(store, a_clock(), a_run("Failed"), a_run("Failed", run=other), a_run("Completed", run=other, at=1))
    with store.begin() as session:
        remove(session, "rule", LATER)
    resolved = [one for one in firings(store) if one.state == "Resolved"]
    assert [one.event_id is None for one in resolved] == [False, True]


async def test_an_edit_that_leaves_the_end_alone_resolves_nothing(store: Store) -> None:
    define(store, telling())
    await decided(store, a_clock(), a_run("Failed"))
    define(store, telling(severity="critical", description="other words"))
    await decided(store, a_clock(), a_run("Completed", at=1))
    first, second = firings(store)
    assert (first.state, second.state, second.episode) == ("Triggered", "Resolved", first.id)
    assert second.event_id is not None


async def test_what_was_closed_by_an_edit_is_not_resolved_again(store: Store) -> None:
    define(store, telling())
    await decided(store, a_clock(), a_run("Failed"))
    define(store, telling(resolve_on=None))
    define(store, telling())
    await decided(store, a_clock(), a_run("Completed", at=1))
    assert [one.state for one in firings(store)].count("Resolved") == 1
    await decided(store, a_clock(), a_run("Failed", at=2, attempt=2), happened("x"))
    opening = [one for one in firings(store) if one.state == "Triggered"]
    assert [one.episode == one.id for one in opening] == [True, True]
