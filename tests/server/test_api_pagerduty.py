"""What people do in PagerDuty, by its own posts: signed, newest word first, echoes and strangers without effect."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from pydantic import SecretStr
from sqlmodel import select

from tests.server.conftest import Api, serving
from tocsin.events.clock import SystemClock
from tocsin.notifiers.act import Acknowledge
from tocsin.notifiers.acts import act
from tocsin.notifiers.blocks import PagerDuty, Webhook
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.outbox import notify
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.standins import Alert, PagerDutyStandIn, WebhookStandIn
from tocsin.notifiers.standins.pagerduty_webhooks import signatures
from tocsin.notifiers.tables import Incident
from tocsin.server.settings import Settings
from tocsin.store.engine import Store

SECRET = "planted-webhook-secret-0123456789"
OTHER = "planted-second-secret-0123456789"
PATH = "/api/pagerduty/pager"


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    store = Store.open(sqlite_url, create=True)
    yield store
    store.close()


@pytest.fixture
async def api(sqlite_store: Store) -> AsyncIterator[Api]:
    """With an API key, which PagerDuty does not have."""
    async with serving(sqlite_store, Settings(port=0, api_key=SecretStr("k" * 20))) as running:
        yield running


@pytest.fixture
def pagerduty(api: Api, sqlite_store: Store) -> Iterator[PagerDutyStandIn]:
    with PagerDutyStandIn() as stand_in:
        secret = SecretStr(f"{OTHER}, {SECRET}")
        key = SecretStr(stand_in.routing_key)
        with sqlite_store.begin() as session:
            put_notifier(
                session, PagerDuty(name="pager", routing_key=key, url=stand_in.url, webhook_secret=secret), now()
            )
            put_notifier(session, PagerDuty(name="mute", routing_key=key, url=stand_in.url), now())
        stand_in.subscribe(api.url + PATH, SECRET)
        yield stand_in


def now() -> datetime:
    return datetime.now(UTC)


async def open_alert(store: Store, pagerduty: PagerDutyStandIn, *notifiers: str) -> Alert:
    """An incident that PagerDuty was told of."""
    with store.begin() as session:
        for name in notifiers or ("pager",):
            notify(
                session,
                notifier=name,
                incident_key="etl",
                action="trigger",
                subject="etl failed",
                body="12 % bad rows",
                severity="error",
                labels={"flow": "etl"},
                event_id=uuid4(),
                now=now(),
            )
    await deliver(store)
    return pagerduty.alerts[-1]


async def deliver(store: Store) -> None:
    dispatcher = Dispatcher(store, SystemClock())
    await dispatcher.run_due()
    await dispatcher.close()


def incident(store: Store) -> Incident:
    with store.read() as session:
        return session.exec(select(Incident)).one()


async def test_what_is_done_in_pagerduty_is_done_here(
    api: Api, pagerduty: PagerDutyStandIn, sqlite_store: Store
) -> None:
    alert = await open_alert(sqlite_store, pagerduty)
    assert await asyncio.to_thread(pagerduty.acknowledge, alert, by="Ada Lovelace") == [200]
    assert (incident(sqlite_store).state, incident(sqlite_store).acked_by) == ("acknowledged", "Ada Lovelace")
    assert await asyncio.to_thread(pagerduty.delegate, alert) == [200]
    assert incident(sqlite_store).state == "open"
    assert await asyncio.to_thread(pagerduty.acknowledge, alert) == [200]
    assert await asyncio.to_thread(pagerduty.unacknowledge, alert) == [200]
    assert incident(sqlite_store).state == "open"
    assert await asyncio.to_thread(pagerduty.resolve, alert, by="Grace Hopper") == [200]
    assert (incident(sqlite_store).state, incident(sqlite_store).closed_by) == ("resolved", "Grace Hopper")
    assert await asyncio.to_thread(pagerduty.ping) == [200]


async def test_others_are_told_of_it(
    api: Api, pagerduty: PagerDutyStandIn, sqlite_store: Store, receiver: WebhookStandIn
) -> None:
    with sqlite_store.begin() as session:
        url, secret = SecretStr(receiver.url), SecretStr(receiver.secret)
        put_notifier(session, Webhook(name="bot", url=url, secret=secret, allow_private=(receiver.host,)), now())
    alert = await open_alert(sqlite_store, pagerduty, "pager", "bot")
    await asyncio.to_thread(pagerduty.acknowledge, alert)
    await deliver(sqlite_store)
    await asyncio.to_thread(pagerduty.resolve, alert)
    await deliver(sqlite_store)
    told = [message["type"] for message in receiver.messages]
    assert (told[0], told[-1]) == ("incident.opened", "incident.resolved")
    assert not pagerduty.violations


async def test_pagerduty_hears_what_was_acknowledged_elsewhere(
    api: Api, pagerduty: PagerDutyStandIn, sqlite_store: Store
) -> None:
    alert = await open_alert(sqlite_store, pagerduty)
    with sqlite_store.begin() as session:
        number = session.exec(select(Incident.id)).one()
        act(session, number, Acknowledge(by="Grace Hopper"), now())
    await deliver(sqlite_store)
    assert alert.state == "acknowledged"
    assert pagerduty.calls[-1]["payload"]["custom_details"]["acknowledged_by"] == "Grace Hopper"
    assert await asyncio.to_thread(pagerduty.wait, lambda: len(pagerduty.posted) == 1)
    assert (incident(sqlite_store).state, incident(sqlite_store).acked_by) == ("acknowledged", "Grace Hopper")
    assert not pagerduty.violations


async def test_a_repeat_and_an_overtaken_word_change_nothing(
    api: Api, pagerduty: PagerDutyStandIn, sqlite_store: Store
) -> None:
    alert = await open_alert(sqlite_store, pagerduty)
    first, second = now() - timedelta(seconds=20), now() - timedelta(seconds=10)
    acknowledged = pagerduty.document("incident.acknowledged", alert, by="Ada", at=first)
    returned = pagerduty.document("incident.unacknowledged", alert, by="Ada", at=second)
    assert [await post(api, acknowledged) for _ in range(2)] == [(200, True), (200, False)]
    assert incident(sqlite_store).state == "acknowledged"
    assert await post(api, returned) == (200, True)
    assert await post(api, acknowledged) == (200, False)
    assert incident(sqlite_store).state == "open"
    old = pagerduty.document("incident.acknowledged", alert, by="Ada", at=now() - timedelta(days=4))
    assert await post(api, old) == (200, False)
    assert incident(sqlite_store).state == "open"


async def test_our_own_words_come_back_without_effect(
    api: Api, pagerduty: PagerDutyStandIn, sqlite_store: Store
) -> None:
    await open_alert(sqlite_store, pagerduty)
    before = incident(sqlite_store).revision
    with sqlite_store.begin() as session:
        notify(
            session,
            notifier="pager",
            incident_key="etl",
            action="resolve",
            subject="etl is well",
            body="",
            severity="error",
            labels={},
            event_id=uuid4(),
            now=now(),
        )
    await deliver(sqlite_store)
    assert await asyncio.to_thread(pagerduty.wait, lambda: len(pagerduty.posted) == 1)
    assert pagerduty.posted[0][1] == 200
    assert incident(sqlite_store).state == "resolved"
    assert incident(sqlite_store).closed_by == ""
    assert incident(sqlite_store).revision == before + 1


@pytest.mark.parametrize("key", ["tocsin/" + "0" * 32, "tocsin/no hex", "somebody's own key", ""])
async def test_a_key_that_is_none_of_ours_is_taken_and_left(
    api: Api, pagerduty: PagerDutyStandIn, sqlite_store: Store, key: str
) -> None:
    alert = await open_alert(sqlite_store, pagerduty)
    other = Alert(key, alert.routing_key, "s", "error")
    assert await post(api, pagerduty.document("incident.resolved", other, by="Eve")) == (200, False)
    assert incident(sqlite_store).state == "open"


async def test_an_incident_that_this_notifier_never_told_is_left(
    api: Api, pagerduty: PagerDutyStandIn, sqlite_store: Store
) -> None:
    alert = await open_alert(sqlite_store, pagerduty, "mute")
    assert await asyncio.to_thread(pagerduty.acknowledge, alert) == [200]
    assert incident(sqlite_store).state == "open"


async def test_who_proves_nothing_learns_nothing(api: Api, pagerduty: PagerDutyStandIn, sqlite_store: Store) -> None:
    alert = await open_alert(sqlite_store, pagerduty)
    body = json.dumps(pagerduty.document("incident.resolved", alert, by="Eve")).encode()
    answers = []
    for path, headers in (
        (PATH, {}),
        (PATH, {"X-PagerDuty-Signature": signatures(body, "another secret entirely")}),
        ("/api/pagerduty/nobody", {"X-PagerDuty-Signature": signatures(body, SECRET)}),
        ("/api/pagerduty/mute", {"X-PagerDuty-Signature": signatures(body, SECRET)}),
    ):
        answer = await api.post(path, data=body, headers={"Content-Type": "application/json", **headers})
        answers.append((answer.status, answer.body))
    assert len(set(answers)) == 1
    assert answers[0][0] == 401
    assert incident(sqlite_store).state == "open"


async def test_what_is_signed_and_no_event_is_told_so(api: Api, pagerduty: PagerDutyStandIn) -> None:
    assert await post(api, {"event": {"id": 1}}) == (422, False)
    assert await post(api, {"event": {}}, OTHER) == (422, False)


async def post(api: Api, document: object, secret: str = SECRET) -> tuple[int, bool]:
    """The status, and whether something was done."""
    body = json.dumps(document).encode()
    headers = {"Content-Type": "application/json", "X-PagerDuty-Signature": signatures(body, secret)}
    answer = await api.post(PATH, data=body, headers=headers)
    return answer.status, answer.json().get("result") == "done"
