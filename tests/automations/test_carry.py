"""Each action, carried out in the database: what it changes, what it tells, and that twice is once."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlmodel import Session, select

from tests.automations.firings import planned_one
from tests.automations.parts import START, a_run, define, happened, quiet, rule, told
from tocsin.automations import store as automations
from tocsin.automations.actions import KNOWN
from tocsin.automations.attempt import Executed, Failed
from tocsin.automations.carry import DEEDS, Outcome, carry_out
from tocsin.automations.invocation import Invocation
from tocsin.events.model import RESOURCE_ID, Event
from tocsin.flows.changes import propose
from tocsin.flows.claims import claim
from tocsin.flows.decide import Context
from tocsin.flows.deployments import Deployment, get_deployment, put_deployment
from tocsin.flows.queues import list_queues
from tocsin.flows.runs import create_run, get_run, suspend_run
from tocsin.flows.states import State, StateType
from tocsin.flows.tables import FlowRun, WorkPool
from tocsin.notifiers import PagerDuty, put_notifier
from tocsin.notifiers.tables import Incident
from tocsin.store.engine import Store
from tocsin.triggers.store import get_schedule, put_schedule

LATER = START + timedelta(seconds=5)


class Town:
    """A store in which there is one of everything that an action may be for."""

    def __init__(self, store: Store) -> None:
        self.store = store
        with store.begin() as session:
            made = Deployment(name="etl", entrypoint="a:b", flow_name="etl", work_queue="night")
            put_deployment(session, made, START)
            self.run = create_run(session, "etl", now=START).id
            put_schedule(session, "nightly", {"cron": "0 6 * * *"}, now=START)
            put_notifier(session, PagerDuty.model_validate({"name": "pager", "routing_key": "k" * 32}), START)
        define(store, quiet("other", "y"))

    def failed(self) -> None:
        """Let the run fail."""
        self.stepped(State(StateType.FAILED, "Failed"))

    def stepped(self, *states: State) -> None:
        with self.store.begin() as session:
            [taken] = claim(session, "default", 1, lease="worker:1", worker="w", now=START)
            for state in (State(StateType.RUNNING, "Running"), *states):
                propose(session, self.run, state, Context(attempt=taken["attempt"]), START)

    def about(self) -> Event:
        """An event that the run, its deployment, pool, queue and schedule are related to."""
        event = a_run("Failed", run=f"tocsin.flow-run.{self.run}", depth=1)
        roles = {"work-pool": "default", "work-queue": "default/night", "schedule": "nightly", "automation": "other"}
        related = [{RESOURCE_ID: f"tocsin.{role}.{name}", "tocsin.resource.role": role} for role, name in roles.items()]
        labels = {**event.resource, "tocsin.chain.path": "first"}
        return happened(event.event, labels=labels, related=[*event.related, *related], payload=event.payload)

    def plan(self, action: dict[str, Any]) -> Invocation:
        invocation = planned_one(rule("rule", action), self.about())
        assert invocation.refused is None
        return invocation

    def do(self, invocation: Invocation) -> Outcome:
        with self.store.begin() as session:
            return carry_out(session, invocation, LATER)

    def see(self, look: Callable[[Session], Any]) -> Any:
        with self.store.read() as session:
            return look(session)


@pytest.fixture
def town(store: Store) -> Town:
    return Town(store)


@pytest.fixture
def small_town(sqlite_url: str) -> Iterator[Town]:
    """A town on SQLite, for what does not depend on the database."""
    store = Store.open(sqlite_url)
    yield Town(store)
    store.close()


def state_of_run(town: Town) -> str:
    name: str = town.see(lambda session: get_run(session, town.run)).state_name
    return name


SWITCHED = {
    "deployment": (lambda s: get_deployment(s, "etl").paused, "tocsin.deployment."),
    "schedule": (lambda s: not get_schedule(s, "nightly").active, "tocsin.schedule."),
    "work-pool": (lambda s: s.get_one(WorkPool, "default").paused, "tocsin.work-pool."),
    "work-queue": (lambda s: list_queues(s, "default")[0].paused, "tocsin.work-queue."),
    "automation": (lambda s: not automations.get(s, "other").automation.enabled, "tocsin.automation.updated"),
}


@pytest.mark.parametrize("thing", SWITCHED)
def test_what_is_paused_rests_until_it_is_resumed_and_both_are_told_once(town: Town, thing: str) -> None:
    is_paused, events = SWITCHED[thing]
    before = len(told(town.store, events))
    for verb in ("pause", "resume"):
        invocation = town.plan({"type": f"{verb}-{thing}", "source": "inferred"})
        for _ in range(2):
            assert isinstance(town.do(invocation), Executed)
            assert town.see(is_paused) is (verb == "pause")
    new = told(town.store, events)[before:]
    assert len(new) == 2
    assert [(event.depth, event.chain) for event in new] == [(2, ("first", "rule"))] * 2
    assert all(event.follows is not None for event in new)


def suspended(town: Town) -> None:
    with town.store.begin() as session:
        suspend_run(session, town.run, now=START)


CHANGES: list[Any] = [
    pytest.param({"type": "cancel-flow-run"}, None, "Cancelled", id="cancel one that waits"),
    pytest.param({"type": "cancel-flow-run"}, Town.stepped, "Cancelling", id="cancel one at work"),
    pytest.param({"type": "suspend-flow-run"}, None, "Suspended", id="suspend one that waits"),
    pytest.param({"type": "suspend-flow-run"}, Town.stepped, "Suspended", id="suspend one at work"),
    pytest.param({"type": "resume-flow-run"}, suspended, "Resuming", id="resume"),
    pytest.param({"type": "retry-flow-run"}, Town.failed, "AwaitingRetry", id="retry"),
    pytest.param(
        {"type": "change-flow-run-state", "state": "CANCELLED", "name": "Skipped"}, None, "Skipped", id="change"
    ),
    pytest.param(
        {"type": "change-flow-run-state", "state": "COMPLETED", "force": True}, Town.failed, "Completed", id="force"
    ),
    pytest.param({"type": "change-flow-run-state", "state": "SCHEDULED"}, Town.failed, "Scheduled", id="start again"),
]


@pytest.mark.parametrize(("action", "given", "state"), CHANGES)
def test_a_run_is_changed_once(
    town: Town, action: dict[str, Any], given: Callable[[Town], None] | None, state: str
) -> None:
    if given is not None:
        given(town)
    invocation = town.plan(action)
    before = len(told(town.store, "tocsin.flow-run."))
    first, second = (town.do(invocation) for _ in range(2))
    assert isinstance(first, Executed)
    assert isinstance(second, Executed)
    assert first.details["flow_run"] == str(town.run)
    assert state_of_run(town) == state
    [changed] = told(town.store, "tocsin.flow-run.")[before:]
    behind = () if action["type"] == "retry-flow-run" else ("first", "rule")
    assert (changed.event, changed.chain, changed.depth) == (f"tocsin.flow-run.{state}", behind, len(behind))


def test_a_deleted_run_is_deleted_once(town: Town) -> None:
    invocation = town.plan({"type": "delete-flow-run"})
    outcomes = [town.do(invocation) for _ in range(2)]
    assert outcomes == [Executed({"flow_run": str(town.run)})] * 2
    assert town.see(lambda session: session.get(FlowRun, town.run)) is None
    [deleted] = told(town.store, "tocsin.flow-run.deleted")
    assert deleted.chain == ("first", "rule")


def test_a_deployment_is_run_once_with_the_chain_behind_it(town: Town) -> None:
    invocation = town.plan({"type": "run-deployment", "source": "inferred"})
    first, second = (town.do(invocation) for _ in range(2))
    assert first == second
    runs = town.see(lambda session: session.exec(select(FlowRun).where(FlowRun.id != town.run)).all())
    assert [(run.depth, run.chain, run.work_queue) for run in runs] == [(2, "first/rule", "night")]
    assert told(town.store, "tocsin.flow-run.")[-1].chain == ("first", "rule")


def test_an_event_is_emitted_once_with_what_led_to_it(town: Town) -> None:
    action = {
        "type": "emit-event",
        "event": "orders.{{ flow.name }}",
        "resource": {"tocsin.resource.id": "order.{{ flow_run.attempt }}", "tocsin.chain.depth": "0"},
        "related": [{"tocsin.resource.id": "shop.{{ automation.name }}", "tocsin.resource.role": "shop"}],
        "payload": {"n": "{{ flow_run.attempt }}", "day": "{{ flow_run.parameters.day }}"},
    }
    invocation = town.plan(action)
    outcomes = [town.do(invocation) for _ in range(2)]
    assert outcomes[0] == outcomes[1]
    [event] = told(town.store, "orders.")
    assert isinstance(outcomes[0], Executed)
    assert (outcomes[0].details["event"], outcomes[0].details["event_name"]) == (str(event.id), "orders.daily")
    assert (event.resource_id, event.depth, event.chain) == ("order.1", 2, ("first", "rule"))
    assert (event.payload, event.occurred, event.follows) == (
        {"n": 1, "day": "2026-03-01"},
        START,
        UUID(str(invocation.cause["event"])),
    )
    assert [labels["tocsin.resource.id"] for labels in event.related_as("shop")] == ["shop.rule"]


def test_a_deadline_tells_people_once(town: Town) -> None:
    action = {"type": "send-notification", "notifier": "pager"}
    invocation = planned_one(rule("rule", action), None, labels={"host": "db1"})
    for _ in range(2):
        assert isinstance(town.do(invocation), Executed)
    [incident] = town.see(lambda session: session.exec(select(Incident)).all())
    assert (incident.subject, incident.revision, incident.chain) == ("rule: db1", 1, "rule")
    [opened] = told(town.store, "tocsin.incident.opened")
    assert (opened.follows, opened.chain, opened.depth) == (invocation.behind.event, ("rule",), 1)


def test_two_silences_are_two_firings_of_one_incident(town: Town) -> None:
    automation = rule("rule", {"type": "send-notification", "notifier": "pager"}, resolve_on={"expect": ["x"]})
    episode = UUID(int=3)
    for at in (60, 120):
        town.do(planned_one(automation, None, at=at, opened=episode, lasting=True))
    [incident] = town.see(lambda session: session.exec(select(Incident)).all())
    assert (incident.revision, incident.state) == (2, "open")


GONE = [
    pytest.param({"type": "run-deployment", "deployment": "x"}, "known: etl", id="deployment to run"),
    pytest.param({"type": "pause-deployment", "deployment": "x"}, "known: etl", id="deployment"),
    pytest.param({"type": "pause-schedule", "schedule": "x"}, "`tocsin schedule ls`", id="schedule"),
    pytest.param({"type": "pause-work-pool", "work_pool": "x"}, "known: default", id="pool"),
    pytest.param({"type": "pause-work-queue", "work_queue": "default/x"}, "known in default", id="queue"),
    pytest.param({"type": "pause-work-queue", "work_queue": "{{ 'x' }}"}, "as pool/queue", id="a template, no pool"),
    pytest.param({"type": "pause-automation", "automation": "x"}, "known: other", id="automation"),
    pytest.param({"type": "send-notification", "notifier": "x"}, "known: pager", id="notifier"),
    *(
        pytest.param({"type": kind, "flow_run": str(UUID(int=9)), **more}, "`tocsin run ls`", id=kind)
        for kind, more in {
            "retry-flow-run": {},
            "cancel-flow-run": {},
            "suspend-flow-run": {},
            "resume-flow-run": {},
            "delete-flow-run": {},
            "change-flow-run-state": {"state": "FAILED"},
        }.items()
    ),
]


@pytest.mark.parametrize(("action", "way_out"), GONE)
def test_what_is_gone_is_said_with_the_way_out(small_town: Town, action: dict[str, Any], way_out: str) -> None:
    outcome = small_town.do(small_town.plan(action))
    assert isinstance(outcome, Failed)
    assert way_out in outcome.reason


REFUSED = [
    pytest.param({"type": "resume-flow-run"}, None, "not suspended", id="resume what is not suspended"),
    pytest.param({"type": "retry-flow-run"}, None, "only a failed or crashed run", id="retry what has not failed"),
    pytest.param({"type": "delete-flow-run"}, Town.stepped, "cancel it first", id="delete one at work"),
    pytest.param(
        {"type": "change-flow-run-state", "state": "COMPLETED"}, None, "does not become", id="complete one that waits"
    ),
    pytest.param({"type": "emit-event", "event": "{{ 'a' * 2000 }}"}, None, "name", id="an event that no log takes"),
]


@pytest.mark.parametrize(("action", "given", "reason"), REFUSED)
def test_what_cannot_be_fails_with_the_reason(
    small_town: Town, action: dict[str, Any], given: Callable[[Town], None] | None, reason: str
) -> None:
    if given is not None:
        given(small_town)
    outcome = small_town.do(small_town.plan(action))
    assert isinstance(outcome, Failed)
    assert reason in outcome.reason


def test_every_action_can_be_carried_out_here_or_is_a_call() -> None:
    assert {*DEEDS, "call-webhook"} == set(KNOWN)
