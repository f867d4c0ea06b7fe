"""What is counted of telling people, and what a scrape shows of it: exact, after any crash, on both databases."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import yaml
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_families
from prometheus_client.parser import text_string_to_metric_families as families
from pydantic import SecretStr

from tests.notifiers.desk import Desk, blocks
from tests.server.conftest import Api, serving
from tocsin.automations.tables import StoredInvocation
from tocsin.events.clock import ManualClock
from tocsin.events.model import Event
from tocsin.notifiers.alert import Alert, ToRoute
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.route import Route
from tocsin.notifiers.routes import put_route
from tocsin.notifiers.silences import add_silence
from tocsin.notifiers.standins import Fail, PagerDutyStandIn, RateLimited, SlackStandIn, WebhookStandIn
from tocsin.notifiers.take import take
from tocsin.server.metrics import exposition
from tocsin.server.metrics_reads import readings
from tocsin.server.settings import Settings
from tocsin.store.engine import Store
from tocsin.store.log import append
from tocsin.store.tables import Position
from tocsin.triggers.tables import Schedule

KEY = "0123456789abcdef0123"
HOUR = timedelta(hours=1)


class Scrape:
    """The samples of a document, by name and labels."""

    def __init__(self, document: str) -> None:
        self.families = {family.name: family for family in families(document)}
        self._samples = [sample for family in self.families.values() for sample in family.samples]

    def of(self, name: str, **labels: str) -> dict[tuple[str, ...], float]:
        """Values of the labels that are not given, in the order of their names, to value."""
        found = [s for s in self._samples if s.name == name and labels.items() <= s.labels.items()]
        return {tuple(v for k, v in sorted(s.labels.items()) if k not in labels): s.value for s in found}

    def one(self, name: str, **labels: str) -> float | None:
        return self.of(name, **labels).get(())


def happened(seen: Scrape, name: str) -> dict[tuple[str, ...], float]:
    """Those of the samples that have come to something."""
    return {labels: value for labels, value in seen.of(name).items() if value}


def scraped(store: Store, clock: ManualClock) -> Scrape:
    with store.read() as session:
        document, _ = exposition(readings(session, clock.now()), "")
    return Scrape(document.decode())


@pytest.fixture
async def desk(
    store: Store, clock: ManualClock, slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn
) -> AsyncIterator[Desk]:
    dispatcher = Dispatcher(store, clock, jitter=lambda: 0.5)
    desk = Desk(store, clock, dispatcher)
    desk.put(*blocks(slack, pagerduty, receiver))
    yield desk
    await dispatcher.close()


def event_at(store: Store, clock: ManualClock) -> Event:
    """An event that the log received now."""
    event = Event(event="orders.broken", resource={"tocsin.resource.id": "orders"}, occurred=clock.now())
    with store.begin() as session:
        append(session, [event], now=clock.now())
    return event


async def test_a_scripted_run_is_counted_exactly(
    desk: Desk, store: Store, clock: ManualClock, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn
) -> None:
    event = event_at(store, clock)
    desk.pass_time(2)  # deciding took so long
    pagerduty.fail(RateLimited(30))
    desk.fire("slack", "pagerduty", event=event.id)
    await desk.dispatcher.run_due()

    seen = scraped(store, clock)
    assert happened(seen, "tocsin_delivery_attempts_total") == {("later", "pagerduty"): 1, ("delivered", "slack"): 1}
    assert seen.of("tocsin_outbox_deliveries") == {("pagerduty", "pending"): 1}
    wait_until = clock.now() + timedelta(seconds=30)
    waits = seen.of("tocsin_receiver_wait_until_timestamp_seconds")
    assert waits == {("pagerduty",): pytest.approx(wait_until.timestamp())}
    assert seen.of("tocsin_incidents") == {("error", "open"): 1}

    desk.pass_time(40)
    assert scraped(store, clock).of("tocsin_outbox_oldest_seconds") == {("pagerduty",): 40}
    await desk.dispatcher.run_due()
    desk.over("slack", "pagerduty", event=uuid4())
    await desk.dispatcher.run_due()

    seen = scraped(store, clock)
    attempts = {("delivered", "pagerduty"): 2, ("later", "pagerduty"): 1, ("delivered", "slack"): 2}
    assert happened(seen, "tocsin_delivery_attempts_total") == attempts
    assert seen.of("tocsin_event_to_delivered_seconds_count") == {("pagerduty",): 1, ("slack",): 1}
    assert seen.of("tocsin_event_to_delivered_seconds_sum") == {("pagerduty",): 42, ("slack",): 2}
    slow = seen.of("tocsin_event_to_delivered_seconds_bucket", receiver="pagerduty")
    assert (slow["30.0",], slow["60.0",], slow["14400.0",], slow["+Inf",]) == (0, 1, 1, 1)
    assert seen.of("tocsin_delivery_wait_seconds_count") == {("pagerduty",): 3, ("slack",): 2}
    assert seen.one("tocsin_delivery_wait_seconds_sum", receiver="pagerduty") == 10  # due again after 30 s, tried at 40
    assert seen.of("tocsin_outbox_deliveries") == seen.of("tocsin_receiver_wait_until_timestamp_seconds") == {}
    assert happened(seen, "tocsin_delivery_dead_total") == {}


async def test_a_dead_letter_is_counted_for_its_receiver(
    desk: Desk, store: Store, clock: ManualClock, receiver: WebhookStandIn
) -> None:
    receiver.fail(Fail(410))
    desk.fire("webhook")
    await desk.dispatcher.run_due()
    seen = scraped(store, clock)
    assert seen.of("tocsin_delivery_dead_total") == {("hook",): 0, ("pagerduty",): 0, ("slack",): 0, ("webhook",): 1}
    assert happened(seen, "tocsin_delivery_attempts_total") == {("refused", "webhook"): 1}
    assert seen.of("tocsin_event_to_delivered_seconds_count") == {}


def alert(name: str, clock: ManualClock, *, over: bool = False, event: UUID | None = None, **labels: str) -> Alert:
    return Alert(
        source=f"{name}/1",
        identity=name,
        to=ToRoute("oncall"),
        subject=f"{name} is down",
        event_id=event or uuid4(),
        at=clock.now(),
        status="resolved" if over else "firing",
        labels={"alertname": name, "severity": "error", **labels},
    )


def routed(store: Store, clock: ManualClock, **more: object) -> None:
    fields = {"name": "oncall", "receivers": ["slack"], "group_wait": 0, "group_by": ["..."], "resolve_wait": 60}
    with store.begin() as session:
        put_route(session, Route.model_validate({**fields, **more}), clock.now())


def taken(store: Store, clock: ManualClock, *alerts: Alert) -> None:
    with store.begin() as session:
        take(session, alerts, clock.now())


async def test_the_time_to_the_first_word_begins_with_the_first_event_of_its_own_incident(
    desk: Desk, store: Store, clock: ManualClock
) -> None:
    desk.fire("hook", key="older", event=event_at(store, clock).id)
    desk.pass_time(600)
    routed(store, clock, receivers=["slack"], group_by=[], group_wait=30)
    for name in ("disk", "cpu"):
        event = event_at(store, clock)
        desk.pass_time(1)
        taken(store, clock, alert(name, clock, event=event.id))
        desk.pass_time(19)
    desk.pass_time(10)
    await desk.dispatcher.run_due()
    assert scraped(store, clock).of("tocsin_event_to_delivered_seconds_sum") == {("slack",): 50, ("hook",): 650}


async def test_what_keeps_incidents_quiet_is_counted_by_its_kind(desk: Desk, store: Store, clock: ManualClock) -> None:
    routed(store, clock, receivers=["webhook"])
    with store.begin() as session:
        matchers = read_matchers('team="db"')
        until = clock.now() + timedelta(hours=2)
        now = clock.now()
        add_silence(session, matchers, starts=now, ends=until, author="ann", comment="a move", now=now)
    taken(store, clock, alert("disk", clock, team="db"), alert("cpu", clock, team="db"), alert("net", clock, team="x"))
    await desk.dispatcher.run_due()
    seen = scraped(store, clock)
    counted = {("silence",): 2, ("inhibition",): 0, ("mute",): 0, ("storm",): 0}
    assert seen.of("tocsin_incident_suppressed_total") == counted
    assert seen.of("tocsin_event_to_delivered_seconds_count") == {("webhook",): 1}
    desk.pass_time(3600)  # still the same silence: looked at again, not counted again
    await desk.dispatcher.run_due()
    assert scraped(store, clock).one("tocsin_incident_suppressed_total", reason="silence") == 2


async def test_a_storm_counts_those_that_it_speaks_for(desk: Desk, store: Store, clock: ManualClock) -> None:
    routed(store, clock)
    taken(store, clock, *[alert(f"disk-{number}", clock) for number in range(25)])
    assert scraped(store, clock).one("tocsin_incident_suppressed_total", reason="storm") == 5


async def test_flapping_and_escalation_are_counted(desk: Desk, store: Store, clock: ManualClock) -> None:
    routed(store, clock, escalation=[{"after": "10m", "receivers": ["pagerduty"]}])
    for _ in range(5):
        taken(store, clock, alert("disk", clock))
        desk.pass_time(5)
        taken(store, clock, alert("disk", clock, over=True))
        desk.pass_time(5)
    assert scraped(store, clock).one("tocsin_incident_flapping_total") == 1
    taken(store, clock, alert("disk", clock))
    desk.pass_time(3600)
    assert scraped(store, clock).one("tocsin_incidents_due") == 1
    assert scraped(store, clock).one("tocsin_incidents_due_seconds") == 3350  # its news was due after five minutes
    await desk.dispatcher.run_due()
    seen = scraped(store, clock)
    assert seen.one("tocsin_incident_escalations_total") == 1
    assert seen.one("tocsin_incidents_due") == 0
    # who is called by a step of escalation is not told late
    assert seen.of("tocsin_event_to_delivered_seconds_count") == {("slack",): 1}


async def test_what_others_are_behind_with_is_shown(store: Store, clock: ManualClock) -> None:
    morning = clock.now()
    event_at(store, clock)
    clock.advance(timedelta(seconds=30))
    event_at(store, clock)
    with store.begin() as session:
        session.add(Position(consumer="automations", stream="log", partition=0, next_offset=1))
        session.add(Position(consumer="relay", stream="log", partition=0, next_offset=3))
        session.add(Position(consumer="source-x", stream="orders", partition=0, next_offset=1))
        session.add_all(
            [invocation("due", morning), invocation("due", clock.now() + HOUR), invocation("failed", morning)]
        )
        session.add_all([schedule("late", clock.now() - HOUR), schedule("rests", morning, active=False)])
        session.add(schedule("to-come", clock.now() + HOUR))
    seen = scraped(store, clock)
    assert seen.of("tocsin_log_behind_entries") == {("automations",): 2, ("relay",): 0}
    assert seen.of("tocsin_log_behind_seconds") == {("automations",): 30, ("relay",): 0}
    assert (seen.one("tocsin_invocations_due"), seen.one("tocsin_invocations_due_seconds")) == (1, 30)
    assert seen.one("tocsin_invocations_failed") == 1
    assert (seen.one("tocsin_schedules_late"), seen.one("tocsin_schedules_late_seconds")) == (1, 3600)


def invocation(state: str, due: datetime) -> StoredInvocation:
    known: dict[str, Any] = {
        "id": uuid4(),
        "firing_id": uuid4(),
        "automation": "etl",
        "position": 0,
        "action": "send-notification",
    }
    return StoredInvocation(**known, arguments={}, cause={}, state=state, due=due)


def schedule(slug: str, next_at: datetime, *, active: bool = True) -> Schedule:
    known: dict[str, Any] = {
        "slug": slug,
        "kind": "interval",
        "spec": {},
        "timezone": "UTC",
        "active": active,
        "next_at": next_at,
    }
    return Schedule(**known, cursor=next_at, created=next_at, updated=next_at)


def test_an_empty_installation_has_every_figure_that_needs_no_name(sqlite_url: str, clock: ManualClock) -> None:
    store = Store.open(sqlite_url)
    seen = scraped(store, clock)
    store.close()
    bare = {name: list(seen.of(name).values()) for name in seen.families if seen.of(name)}
    assert {values[0] for values in bare.values() if len(values) == 1} == {0}
    assert seen.one("tocsin_incident_flapping_total") == 0
    undescribed = [name for name, family in seen.families.items() if not family.documentation]
    assert undescribed == []


# --- over HTTP ---

KEYED = Settings(port=0, api_key=SecretStr(KEY))
OPEN = Settings(port=0, api_key=SecretStr(KEY), metrics_open=True)
BEARER = {"authorization": f"Bearer {KEY}"}


@pytest.mark.parametrize(
    ("settings", "headers", "status"),
    [(KEYED, {}, 401), (KEYED, BEARER, 200), (OPEN, {}, 200), (OPEN, {"origin": "http://evil.test"}, 403)],
    ids=["no key", "the key", "open to everybody", "a page of another host"],
)
async def test_figures_need_the_key_unless_they_are_open(
    sqlite_url: str, settings: Settings, headers: dict[str, str], status: int
) -> None:
    store = Store.open(sqlite_url)
    async with serving(store, settings) as running:
        assert (await running.get("/metrics", headers=headers)).status == status
        if settings.metrics_open:
            assert (await running.get("/api/incidents", headers=headers)).status != 200
    store.close()


async def test_a_scraper_gets_the_form_that_it_asks_for(api: Api) -> None:
    text = await api.get("/metrics")
    assert text.headers["content-type"].startswith("text/plain; version=")
    assert {family.name for family in families(text.body.decode())} >= {"tocsin_outbox_deliveries"}
    openly = await api.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert openly.headers["content-type"].startswith("application/openmetrics-text")
    read = open_families(openly.body.decode())  # type: ignore[no-untyped-call]
    assert {family.name for family in read} >= {"tocsin_outbox_deliveries"}


async def test_nothing_that_has_no_bounds_nor_any_secret_is_a_label(
    desk: Desk, store: Store, clock: ManualClock, slack: SlackStandIn, pagerduty: PagerDutyStandIn
) -> None:
    routed(store, clock, receivers=["slack", "pagerduty", "hook"])
    taken(store, clock, alert("disk", clock, host="db-1"))
    await desk.dispatcher.run_due()
    with store.read() as session:
        known = readings(session, clock.now())
    document = exposition(known, "")[0].decode()
    names = {name for family in families(document) for sample in family.samples for name in sample.labels}
    assert names <= {"receiver", "outcome", "reason", "state", "severity", "consumer", "le"}
    for secret in (slack.token, slack.url, pagerduty.routing_key, "disk", "db-1"):
        assert secret not in document


def test_the_page_lists_exactly_what_there_is(sqlite_url: str, clock: ManualClock) -> None:
    store = Store.open(sqlite_url)
    seen = scraped(store, clock)
    store.close()
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(tocsin_\w+)(?:\{.*?\})?` \| (\w+) \|", page, re.MULTILINE)
    suffix = {"counter": "_total"}
    there = {name + suffix.get(family.type, ""): family.type for name, family in seen.families.items()}
    assert dict(rows) == there
    rules = yaml.safe_load(re.findall(r"^```yaml\n(groups:.+?)^```", page, re.MULTILINE | re.DOTALL)[0])
    asked = set(re.findall(r"tocsin_\w+", " ".join(rule["expr"] for rule in rules["groups"][0]["rules"])))
    assert len(rules["groups"][0]["rules"]) == 3
    assert asked <= there.keys()
