"""What automations tell of themselves: firings with and without an event, outcomes, switches."""

from tests.automations.firings import firing, planned_one
from tests.automations.parts import RUN, START, a_run, happened, rule
from tocsin.automations.invocation import fired_id
from tocsin.automations.lifecycle import changed, fired, outcome, paused
from tocsin.events.chain import Cause
from tocsin.events.codec import encode
from tocsin.events.model import RESOURCE_ID, Event

ROLE = "tocsin.resource.role"
NOTHING = {"type": "do-nothing"}


def related(event: Event) -> dict[str, str]:
    return {labels[ROLE]: labels[RESOURCE_ID] for labels in event.related}


def test_a_deadline_tells_of_the_last_that_was_known() -> None:
    told = fired(firing(None, witness=a_run("Running", depth=1)))
    assert (told.event, told.follows, told.depth) == ("tocsin.automation.triggered", None, 2)
    assert told.resource["tocsin.posture"] == "Proactive"
    assert related(told) == {"target": RUN}
    assert told.payload["last_event"]["event"] == "tocsin.flow-run.Running"
    assert "triggering_event" not in told.payload


def test_a_deadline_of_which_nothing_is_known_is_told_all_the_same() -> None:
    told = fired(firing(None, labels={"host": "db1"}))
    assert (told.follows, told.related, told.depth, told.chain) == (None, [], 1, ("rule",))
    assert told.payload["last_event"] is None
    assert told.payload["triggering_labels"] == {"host": "db1"}
    encode(told)


def test_what_follows_a_deadline_follows_the_event_that_tells_of_it() -> None:
    invocation = planned_one(rule("rule", NOTHING), None, witness=a_run("Running"))
    told = outcome(invocation, "executed", START, {})
    assert told.follows == fired_id(invocation.firing)
    assert related(told) == {"automation-triggered-event": f"tocsin.event.{told.follows}", "target": RUN}
    encode(outcome(planned_one(rule("rule", NOTHING), None), "failed", START, {"reason": "no"}))


def test_an_outcome_leaves_its_details_as_they_are() -> None:
    details = {"related": [{RESOURCE_ID: "a", ROLE: "flow-run"}], "status_code": 200}
    invocation = planned_one(rule("rule", NOTHING), happened("x"))
    first, second = (outcome(invocation, "executed", START, details) for _ in range(2))
    assert first == second
    assert first.payload["status_code"] == 200


def test_a_pause_by_the_guard_names_the_way_back() -> None:
    told = paused("a", "too often", START)
    assert (told.event, told.resource_id) == ("tocsin.automation.paused", "tocsin.automation.a")
    assert told.payload == {"reason": "too often", "way_back": "tocsin automation enable a"}


def test_a_change_by_an_automation_carries_the_chain() -> None:
    cause = Cause(happened("x").id, 2, ("b", "c"), happened("x").id)
    first, again = (changed("a", "updated", "d", START, cause) for _ in range(2))
    assert (first.follows, first.depth, first.chain, first.id) == (cause.event, 2, ("b", "c"), again.id)
    assert changed("a", "updated", "d", START).chain == ()
