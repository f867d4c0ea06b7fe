"""The performer: each action done once and told once, failures retried by due time, crashes without a trace."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, select

from tests.automations.parts import (
    START,
    Outbox,
    a_run,
    calling,
    decided,
    define,
    happened,
    invocations,
    on,
    outcomes,
    rule,
    told,
)
from tocsin.automations import DoNothing
from tocsin.automations.attempt import Again
from tocsin.automations.perform import LEASE, Ended, Performer
from tocsin.automations.tables import StoredInvocation
from tocsin.events.clock import ManualClock
from tocsin.events.model import RESOURCE_ID
from tocsin.flows.deployments import Deployment
from tocsin.flows.tables import FlowRun
from tocsin.notifiers import PagerDuty, put_notifier
from tocsin.notifiers.http import Result
from tocsin.notifiers.tables import Delivery, Incident
from tocsin.store.engine import Store

NOW = datetime.now(UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_calls_under_way_are_bounded_and_the_rest_is_not_held_up(store: Store, clock: ManualClock) -> None:
    define(store, calling("call", "x"), on("other", DoNothing()))
    await decided(store, clock, *(happened("x") for _ in range(10)))

    class Slow(Outbox):
        """Answers when told."""

        gate = asyncio.Event()
        most = now = 0

        async def post(self, *given: object, **named: object) -> Result:
            self.now += 1
            self.most = max(self.most, self.now)
            await self.gate.wait()
            self.now -= 1
            return await super().post(*given, **named)  # type: ignore[arg-type]

    outbox = Slow()
    performer = Performer(store, clock, outbox, at_once=3)
    while await performer.turn():
        pass
    assert [row.state for row in invocations(store) if row.action == "do-nothing"] == ["done"] * 10
    outbox.gate.set()
    await performer.settle()
    assert {row.state for row in invocations(store)} == {"done"}
    assert (outbox.most, len(set(outbox.ids))) == (3, 10)


# --- what the database does alone ---


async def test_a_deployment_is_run_and_told(store: Store, clock: ManualClock) -> None:
    Deployment(name="refresh", entrypoint="a:b", flow_name="refresh", parameters={"a": 1}).apply(store, now=START)
    action = {"type": "run-deployment", "deployment": "refresh", "parameters": {"n": "{{ event.payload.n }}"}}
    define(store, on("run", action))
    cause = happened("x", payload={"n": 3}, labels={"tocsin.chain.depth": "2"})
    await decided(store, clock, cause)
    await Performer(store, clock).settle()
    with store.read() as session:
        run = session.exec(select(FlowRun)).one()
    assert (run.deployment, run.parameters, run.depth, run.cause) == ("refresh", {"a": 1, "n": 3}, 3, cause.id)
    assert run.creator == {RESOURCE_ID: "tocsin.automation.run"}
    [executed] = told(store, "tocsin.automation.action.")
    assert executed.payload["flow_run"] == str(run.id)
    assert executed.related[-1]["tocsin.resource.id"] == f"tocsin.flow-run.{run.id}"


async def test_a_tick_runs_its_deployment(store: Store, clock: ManualClock) -> None:
    Deployment(name="etl", entrypoint="a:b", flow_name="etl").apply(store, now=START)
    related = [{"tocsin.resource.id": "tocsin.deployment.etl", "tocsin.resource.role": "deployment"}]
    tick = happened(
        "tocsin.schedule.tick", "tocsin.schedule.nightly", related=related, payload={"parameters": {"a": 1}}
    )
    await decided(store, clock, tick, tick)
    await Performer(store, clock).settle()
    with store.read() as session:
        run = session.exec(select(FlowRun)).one()
    assert (run.parameters, run.creator) == ({"a": 1}, {RESOURCE_ID: "tocsin.schedule.nightly"})


async def test_a_loop_over_emitted_events_is_refused_by_name(store: Store, clock: ManualClock) -> None:
    define(
        store,
        on("a", {"type": "emit-event", "event": "y"}),
        rule("b", {"type": "emit-event", "event": "x"}, trigger={"expect": ["y"]}),
        rule("told", {"type": "do-nothing"}, trigger={"expect": ["tocsin.automation.action.failed"]}),
    )
    await decided(store, clock, happened("x"))
    for _ in range(5):
        await Performer(store, clock).settle()
        await decided(store, clock)
    [refused] = told(store, "tocsin.automation.action.failed")
    assert "a → b → a" in refused.payload["reason"]
    assert sorted(row.automation for row in invocations(store)) == ["a", "a", "b", "told"]
    assert [event.depth for event in told(store, "y")] == [1]


TELL = {"type": "send-notification", "notifier": "pager"}


def paging(store: Store, *actions: dict[str, str]) -> None:
    """An automation that does this for a failed run, until the run completes."""
    with store.begin() as session:
        put_notifier(session, PagerDuty.model_validate({"name": "pager", "routing_key": "k" * 32}), START)
    define(store, rule("rule", *actions, resolve_on={"expect": ["tocsin.flow-run.Completed"]}))


def incident_states(store: Store) -> list[str]:
    """The states of all incidents, the first to open first."""
    with store.read() as session:
        return list(session.exec(select(Incident.state).order_by(col(Incident.opened))))


async def test_an_incident_opens_is_updated_and_resolved(store: Store, clock: ManualClock) -> None:
    paging(store, TELL)
    await decided(store, clock, a_run("Failed"), a_run("Failed", at=1))
    await Performer(store, clock).settle()
    await decided(store, clock, a_run("Completed", at=2))
    await Performer(store, clock).settle()
    with store.read() as session:
        incident = session.exec(select(Incident)).one()
        deliveries = session.exec(select(Delivery)).all()
    assert (incident.state, incident.depth) == ("resolved", 1)
    assert "trigger" in {delivery.action for delivery in deliveries}
    assert outcomes(store) == ["executed"] * 3


async def test_the_end_is_told_after_what_it_ends_though_both_were_decided_together(
    store: Store, clock: ManualClock
) -> None:
    paging(store, {"type": "do-nothing"}, TELL)
    await decided(store, clock, a_run("Failed"), a_run("Completed", at=1))
    await Performer(store, clock).settle()
    assert incident_states(store) == ["resolved"]
    assert outcomes(store) == ["executed"] * 3


async def test_the_end_waits_while_what_it_ends_is_tried_again(store: Store, clock: ManualClock) -> None:
    paging(store, TELL)
    await decided(store, clock, a_run("Failed"))
    with store.begin() as session:  # its first attempt failed, or another performer is at it
        first = session.exec(select(StoredInvocation)).one()
        first.due = clock.now() + timedelta(seconds=4)
        session.add(first)
    await decided(store, clock, a_run("Completed", at=1))
    for _ in range(8):
        await Performer(store, clock).settle()
        clock.advance(timedelta(seconds=1))
    assert incident_states(store) == ["resolved"]
    assert [row.tries for row in invocations(store)] == [1, 1]


UNDONE = [
    pytest.param({"type": "send-notification", "notifier": "slak"}, 'unknown notifier "slak"', id="unknown notifier"),
    pytest.param({"type": "run-deployment", "deployment": "etk"}, "etk", id="unknown deployment"),
    pytest.param({"type": "retry-flow-run"}, "00000000", id="unknown run"),
]


@pytest.mark.parametrize(("action", "reason"), UNDONE)
async def test_what_a_person_must_mend_fails_at_once_and_is_told(
    store: Store, clock: ManualClock, action: dict[str, object], reason: str
) -> None:
    define(store, rule("rule", action, {"type": "do-nothing"}))
    await decided(store, clock, a_run("Failed"))
    await Performer(store, clock).settle()
    failed, done = invocations(store)
    assert (failed.state, failed.tries, done.state) == ("failed", 1, "done")
    assert reason in str(failed.reason)
    assert sorted(outcomes(store)) == ["executed", "failed"]


BREAKING = [{"type": "retry-flow-run"}, {"type": "call-webhook", "url": "http://a"}]


@pytest.mark.parametrize("action", BREAKING, ids=lambda action: action["type"])
async def test_an_action_that_breaks_is_tried_again_and_stops_no_other(
    store: Store, clock: ManualClock, action: dict[str, str]
) -> None:
    define(store, rule("rule", {"type": "do-nothing"}, action))
    await decided(store, clock, a_run("Failed"))
    with store.begin() as session:  # as if an older version had left it
        broken = session.exec(select(StoredInvocation).where(StoredInvocation.action == action["type"])).one()
        broken.arguments = {}
        session.add(broken)
    for _ in range(12):
        await Performer(store, clock).settle()
        clock.advance(timedelta(hours=12))
    done, given_up = sorted(invocations(store), key=lambda row: row.position)
    assert (done.state, given_up.state, given_up.tries) == ("done", "failed", 10 if len(action) == 1 else 9)
    assert "KeyError" in str(given_up.reason)
    assert outcomes(store) == ["executed", "failed"]


async def test_one_who_was_overtaken_does_not_undo_what_was_done(store: Store, clock: ManualClock) -> None:
    define(store, calling("call", "x"))
    await decided(store, clock, happened("x"))
    slow = Performer(store, clock, Outbox())
    _, [call] = await store.run(slow.claim)
    clock.advance(LEASE)
    await Performer(store, clock, Outbox()).settle()
    await store.run(lambda session: slow.record(session, [Ended(call, Again("too late"))]))
    [row] = invocations(store)
    assert (row.state, row.tries) == ("done", 2)
    assert outcomes(store) == ["executed"]


async def test_two_performers_do_each_thing_once(store: Store, clock: ManualClock) -> None:
    define(store, calling("call", "x"), on("other", DoNothing()))
    await decided(store, clock, *(happened("x") for _ in range(40)))
    outbox = Outbox()
    await asyncio.gather(*(Performer(store, clock, outbox, at_once=5).settle() for _ in range(2)))
    assert (len(outbox.ids), len(set(outbox.ids))) == (40, 40)
    assert len(outcomes(store)) == 80


async def test_a_performer_that_serves_stops_when_told(store: Store) -> None:
    define(store, on("other", DoNothing()))
    stop = asyncio.Event()
    serving = asyncio.create_task(Performer(store).serve(stop))
    clock = ManualClock(START)
    with store.watch("log") as watch:
        await decided(store, clock, happened("x"))
        async with asyncio.timeout(60):
            while not outcomes(store):
                await watch.wait(timedelta(seconds=1))
    stop.set()
    async with asyncio.timeout(60):
        await serving
