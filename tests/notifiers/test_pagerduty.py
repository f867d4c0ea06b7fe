"""PagerDuty beyond trigger and resolve: acknowledging, change events, links, and the stand-in that checks them."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from tests.notifiers.conftest import MakeView
from tests.notifiers.test_email import VIEWS
from tocsin.events.clock import ManualClock
from tocsin.notifiers.blocks import PagerDuty, PagerDutyChanges
from tocsin.notifiers.outcomes import Delivered, Later, Outcome, Refused, Unknown
from tocsin.notifiers.pagerduty import PagerDutyChangesNotifier, PagerDutyNotifier
from tocsin.notifiers.pagerduty_message import Signature, render_change, render_pagerduty
from tocsin.notifiers.standins import Error, Fail, Fault, PagerDutyStandIn, RateLimited, Reset
from tocsin.notifiers.standins.pagerduty import check_change, check_event

GOLDEN = Path(__file__).parent / "golden"
BY = Signature(
    source="orders-db",
    client="tocsin",
    links={"runbook": "https://wiki.example/etl"},
    images=("https://graphs.example/etl.png",),
)
ACKNOWLEDGED: dict[str, Any] = {
    "action": "acknowledge",
    "revision": 2,
    "route": "oncall/etl",
    "state": "acknowledged",
    "acked_by": "Ada",
    "flapping": True,
    "muted": 3,
    "level": 2,
}
PAYLOADS = {
    "pagerduty-linked-acknowledge": (render_pagerduty, ACKNOWLEDGED),
    "pagerduty-linked-repeat": (render_pagerduty, {"action": "repeat", "revision": 3}),
    "pagerduty-changes-trigger": (render_change, {}),
    "pagerduty-changes-resolve": (render_change, {"action": "resolve", "revision": 2}),
    "pagerduty-changes-many": (render_change, VIEWS["many"]),
    "pagerduty-changes-hostile": (render_change, VIEWS["hostile"]),
}


@pytest.mark.parametrize("minimal", [False, True], ids=["whole", "minimal"])
@pytest.mark.parametrize("name", PAYLOADS)
def test_a_payload_is_what_its_golden_file_says(name: str, minimal: bool, make_view: MakeView) -> None:
    render, fields = PAYLOADS[name]
    body = render(make_view(**fields), BY, minimal=minimal).body
    check = check_change if "changes" in name else check_event
    assert check({**body, "routing_key": "k" * 32}) == []
    text = json.dumps(body, indent=2, ensure_ascii=False) + "\n"
    path = GOLDEN / f"{name}{'-minimal' if minimal else ''}.json"
    if os.environ.get("TOCSIN_TEST_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture
async def pager(pagerduty: PagerDutyStandIn, clock: ManualClock) -> AsyncIterator[PagerDutyNotifier]:
    links = {"runbook": "https://wiki.example/etl"}
    key = SecretStr(pagerduty.routing_key)
    notifier = PagerDutyNotifier(PagerDuty(name="p", routing_key=key, url=pagerduty.url, links=links), clock)
    yield notifier
    await notifier.close()


@pytest.fixture
async def changes(pagerduty: PagerDutyStandIn, clock: ManualClock) -> AsyncIterator[PagerDutyChangesNotifier]:
    key = SecretStr(pagerduty.routing_key)
    notifier = PagerDutyChangesNotifier(PagerDutyChanges(name="c", routing_key=key, url=pagerduty.url), clock)
    yield notifier
    await notifier.close()


async def tell(channel: PagerDutyNotifier | PagerDutyChangesNotifier, make_view: MakeView, **fields: Any) -> Outcome:
    return await channel.send(channel.render(make_view(**fields)), None)


async def test_an_acknowledge_is_for_the_open_alert_and_a_repeat_joins_it(
    pagerduty: PagerDutyStandIn, pager: PagerDutyNotifier, make_view: MakeView
) -> None:
    for action in ("trigger", "acknowledge", "repeat"):
        assert isinstance(await tell(pager, make_view, action=action), Delivered)
    assert [(alert.state, len(alert.log)) for alert in pagerduty.alerts] == [("acknowledged", 3)]
    assert [event["payload"]["source"] for event in pagerduty.calls] == ["tocsin"] * 3
    assert pagerduty.calls[0]["links"] == [{"href": "https://wiki.example/etl", "text": "runbook"}]
    await tell(pager, make_view, action="resolve")
    await tell(pager, make_view, action="acknowledge")
    assert len(pagerduty.dropped) == 1
    assert not pagerduty.violations


async def test_a_change_pages_nobody(
    pagerduty: PagerDutyStandIn, changes: PagerDutyChangesNotifier, make_view: MakeView
) -> None:
    assert await tell(changes, make_view) == Delivered({}, 202)
    assert [change["payload"]["summary"] for change in pagerduty.changes] == ["daily-order-etl failed"]
    assert pagerduty.changes[0]["routing_key"] == pagerduty.routing_key
    assert pagerduty.alerts == []
    assert not pagerduty.violations


TABLE = [
    pytest.param(RateLimited(), Later, id="429 is later"),
    pytest.param(Fail(500), Later, id="500 is later"),
    pytest.param(Error("Routing key is invalid"), Refused, id="400 is refused"),
    pytest.param(Fail(302, headers={"Location": "/v2/"}), Refused, id="a redirect is not success"),
    pytest.param(Reset(accept=True), Unknown, id="a lost answer: nobody knows"),
    pytest.param(Fail(202, "not json"), Delivered, id="202 is accepted whatever the body says"),
]


@pytest.mark.parametrize(("fault", "expected"), TABLE)
async def test_pagerduty_says_what_became_of_a_change(
    pagerduty: PagerDutyStandIn,
    changes: PagerDutyChangesNotifier,
    make_view: MakeView,
    fault: Fault,
    expected: type[Outcome],
) -> None:
    pagerduty.fail(fault)
    assert isinstance(await tell(changes, make_view), expected)
    assert pagerduty.requests == 1


async def test_the_stand_in_limits_each_key_when_it_is_told_to(
    pagerduty: PagerDutyStandIn, pager: PagerDutyNotifier, make_view: MakeView
) -> None:
    pagerduty.per_minute = 2
    outcomes = [await tell(pager, make_view) for _ in range(3)]
    assert [type(outcome) for outcome in outcomes] == [Delivered, Delivered, Later]
    assert pagerduty.limited == 1


BAD: list[Any] = [
    pytest.param(PagerDuty, {"links": {"x": "http://plain.example"}}, "https URL", id="a link without TLS"),
    pytest.param(PagerDuty, {"images": ["data:image/png;base64,x"]}, "https URL", id="an image that is no address"),
    pytest.param(PagerDuty, {"webhook_secret": "s3cret"}, "16 characters", id="a short secret"),
    pytest.param(PagerDuty, {"per_minute": 0}, "per_minute", id="never"),
    pytest.param(PagerDutyChanges, {"routing_key": "R" * 32}, "takes no change events", id="a key of a ruleset"),
]


@pytest.mark.parametrize(("kind", "fields", "says"), BAD)
def test_a_block_that_cannot_work_says_why(kind: type[PagerDuty], fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        kind.model_validate({"name": "n", "routing_key": "k" * 32, **fields})
    assert "s3cret" not in str(caught.value)
