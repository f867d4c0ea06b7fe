"""Webhooks: called once and told, signed, in order, tried again when they are due, no secret given away."""

import json
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from standardwebhooks import Webhook as Verifier

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
from tocsin.automations import CallWebhook
from tocsin.automations.attempt import Again, Executed, Failed
from tocsin.automations.attempts import database_wait, of_answer, webhook_wait
from tocsin.automations.model import Automation
from tocsin.automations.perform import LEASE, Performer
from tocsin.events.clock import ManualClock
from tocsin.notifiers import PagerDuty, Webhook, put_notifier
from tocsin.notifiers.http import Answer, Forbidden, Result, Unanswered, Unsent
from tocsin.store.engine import Store
from tocsin.triggers import EventTrigger

NOW = datetime.now(UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def test_a_webhook_is_called_once_and_told(store: Store, clock: ManualClock) -> None:
    define(store, calling("call", "x", url="https://example.test/hook"))
    event = happened("x", payload={"n": 7})
    await decided(store, clock, event)
    outbox = Outbox([Answer(200, {}, "thank you")])
    await Performer(store, clock, outbox).settle()
    await Performer(store, clock, outbox).settle()
    [(url, body, headers)] = outbox.sent
    [row] = invocations(store)
    assert (url, json.loads(body), headers["content-type"]) == (
        "https://example.test/hook",
        {"n": 7},
        "application/json",
    )
    assert (headers["webhook-id"], row.state, row.tries) == (str(row.id), "done", 1)
    [executed] = told(store, "tocsin.automation.action.")
    assert executed.event == "tocsin.automation.action.executed"
    assert (executed.follows, executed.payload["status_code"]) == (event.id, 200)
    assert executed.payload["response_body"] == "thank you"


async def test_a_receiver_that_echoes_what_it_got_gives_no_secret_away(store: Store, clock: ManualClock) -> None:
    headers = {"Authorization": "Bearer 7f3a-hush-hush-91", "X-Key": "k-123456789"}
    define(store, on("call", CallWebhook.model_validate({"url": "http://a", "headers": headers})))
    await decided(store, clock, happened("x"))
    echo = json.dumps({"headers": headers, "token": "7f3a-hush-hush-91"})
    edge = "." * 994 + "k-123456789"  # cut in the middle of a secret
    await Performer(store, clock, Outbox([Answer(200, {}, edge)])).settle()
    await decided(store, clock, happened("x"))
    await Performer(store, clock, Outbox([Answer(200, {}, echo)])).settle()
    bodies = [executed.payload["response_body"] for executed in told(store, "tocsin.automation.action.")]
    assert "(redacted)" in bodies[1]
    assert not any(leaked in body for leaked in ("hush", "k-123") for body in bodies)


async def test_a_secret_signs_the_request(store: Store) -> None:
    clock = ManualClock(NOW)
    action = CallWebhook.model_validate(
        {"url": "http://a", "secret": SECRET, "headers": {"Authorization": "hush-hush"}}
    )
    define(store, on("call", action))
    await decided(store, clock, happened("x"))
    outbox = Outbox()
    await Performer(store, clock, outbox).settle()
    [(_, body, sent)] = outbox.sent
    Verifier(SECRET).verify(body.decode(), sent)
    assert sent["authorization"] == "hush-hush"
    [row] = invocations(store)
    assert "hush" not in str(row.arguments)
    assert SECRET not in str(row.arguments)


async def test_a_webhook_notifier_gives_address_and_secret(store: Store, clock: ManualClock) -> None:
    with store.begin() as session:
        put_notifier(
            session, Webhook.model_validate({"name": "hook", "url": "https://h.test/x", "secret": SECRET}), START
        )
        put_notifier(session, PagerDuty.model_validate({"name": "pager", "routing_key": "k" * 32}), START)
    actions = [
        {"type": "call-webhook", "notifier": name, "payload": "plain text"} for name in ("hook", "pager", "none")
    ]
    define(store, on("call", *actions))
    await decided(store, clock, happened("x"))
    outbox = Outbox()
    await Performer(store, clock, outbox).settle()
    [(url, body, headers)] = outbox.sent
    assert (url, body, headers["content-type"]) == ("https://h.test/x", b"plain text", "text/plain; charset=utf-8")
    assert "webhook-signature" in headers
    reasons = [row.reason for row in invocations(store)[1:]]
    assert reasons[0] == 'notifier "pager" is a pagerduty; call-webhook needs a webhook'
    assert str(reasons[1]).startswith('unknown notifier "none"; known: hook, pager')
    assert outcomes(store).count("failed") == 2


def telling(url: str, other: str) -> Automation:
    """An automation that says at `url` that a run has failed, and at `other` too that it is fine again."""
    saying = {"type": "call-webhook", "payload": "{{ firing.state }}", "allow_private": []}
    ends = [{**saying, "url": each} for each in dict.fromkeys((url, other))]
    begins = {**saying, "url": url}
    return rule("rule", begins, resolve_on={"expect": ["tocsin.flow-run.Completed"]}, actions_on_resolve=ends)


B, TRIGGERED, RESOLVED = "b Resolved", "a Triggered", "a Resolved"
ORDERS = [
    pytest.param([], [TRIGGERED, B, TRIGGERED, RESOLVED], id="the other address waits for nobody"),
    pytest.param([Answer(500)], [TRIGGERED, B, TRIGGERED, TRIGGERED, RESOLVED], id="all wait for the one that failed"),
    pytest.param([Answer(410)], [TRIGGERED, B, TRIGGERED, RESOLVED], id="until it is given up"),
]


@pytest.mark.parametrize(("answers", "calls"), ORDERS)
async def test_the_calls_of_an_episode_to_one_address_keep_their_order(
    store: Store, clock: ManualClock, answers: list[Result], calls: list[str]
) -> None:
    define(store, telling("http://a", "http://b"))
    await decided(store, clock, a_run("Failed"), a_run("Failed", at=1), a_run("Completed", at=2))
    outbox = Outbox(list(answers))
    for _ in range(20):
        await Performer(store, clock, outbox).settle()
        clock.advance(timedelta(seconds=1))
    assert [f"{url[-1]} {body.decode()}" for url, body, _ in outbox.sent] == calls


async def test_what_everybody_sends_is_no_secret(store: Store, clock: ManualClock) -> None:
    headers = {"Content-Type": "application/vnd.shop+json", "X-Key": "k-987654321"}
    define(store, on("call", CallWebhook.model_validate({"url": "http://a", "headers": headers})))
    await decided(store, clock, happened("x"))
    outbox = Outbox([Answer(200, {}, "application/vnd.shop+json k-987654321")])
    await Performer(store, clock, outbox).settle()
    [executed] = told(store, "tocsin.automation.action.")
    assert executed.payload["response_body"] == "application/vnd.shop+json (redacted)"
    assert outbox.sent[0][2]["content-type"] == "application/vnd.shop+json"


def answered(status: int) -> dict[str, object]:
    return {"status_code": status, "response_body": ""}


ANSWERS: list[object] = [
    pytest.param(Answer(204), Executed({"status_code": 204, "response_body": ""}), id="2xx is success"),
    pytest.param(
        Answer(301), Failed("HTTP 301", {"status_code": 301, "response_body": ""}), id="a redirect is the end"
    ),
    pytest.param(Answer(410), Failed("HTTP 410", {"status_code": 410, "response_body": ""}), id="gone is the end"),
    pytest.param(Answer(422), Failed("HTTP 422", {"status_code": 422, "response_body": ""}), id="refused is the end"),
    pytest.param(Answer(404), Again("HTTP 404"), id="not found may be found later"),
    pytest.param(Answer(500), Again("HTTP 500"), id="5xx is tried again"),
    pytest.param(Answer(429, {"retry-after": "90"}), Again("HTTP 429", timedelta(seconds=90)), id="Retry-After"),
    pytest.param(Forbidden("private"), Failed("private", {}), id="a forbidden address is the end"),
    pytest.param(Unsent("no route"), Again("no route"), id="no connection"),
    pytest.param(Unanswered("silence"), Again("silence"), id="no answer"),
]


@pytest.mark.parametrize(("answer", "attempt"), ANSWERS)
def test_what_an_answer_means(answer: Result, attempt: object) -> None:
    assert of_answer(answer, START) == attempt


def test_waits_grow_for_a_day_and_honour_the_receiver() -> None:
    waits = [webhook_wait(tries, None, UUID(int=0)) for tries in range(1, 10)]
    assert [wait.total_seconds() if wait else None for wait in waits] == [
        5,
        30,
        300,
        1800,
        7200,
        18000,
        36000,
        36000,
        None,
    ]
    assert webhook_wait(1, timedelta(minutes=5), UUID(int=0)) == timedelta(minutes=5)
    assert all(5 <= (webhook_wait(1, None, UUID(int=n)) or LEASE).total_seconds() < 5.5 for n in range(1000))
    assert [database_wait(tries) for tries in (1, 2, 10)] == [timedelta(seconds=1), timedelta(seconds=2), None]


async def test_a_failing_webhook_is_tried_again_when_it_is_due(store: Store, clock: ManualClock) -> None:
    define(store, calling("call", "x"))
    await decided(store, clock, happened("x"))
    outbox = Outbox([Answer(500), Answer(429, {"retry-after": "60"}), Answer(200)])
    performer = Performer(store, clock, outbox)
    for seconds in (0, 4, 2, 59, 2):
        clock.advance(timedelta(seconds=seconds))
        await performer.settle()
    [row] = invocations(store)
    assert (row.state, row.tries, len(outbox.sent), len(set(outbox.ids))) == ("done", 3, 3, 1)
    assert [(one["outcome"], one.get("reason")) for one in row.attempts] == [
        ("again", "HTTP 500"),
        ("again", "HTTP 429"),
        ("executed", None),
    ]
    assert outcomes(store) == ["executed"]


async def test_a_webhook_that_never_answers_is_given_up_and_told(store: Store, clock: ManualClock) -> None:
    define(store, calling("call", "x"))
    await decided(store, clock, happened("x"))
    outbox = Outbox([Unanswered("silence")] * 20)
    for _ in range(20):
        await Performer(store, clock, outbox).settle()
        clock.advance(timedelta(hours=12))
    [row] = invocations(store)
    assert (row.state, row.tries, len(outbox.sent)) == ("failed", 9, 9)
    [failed] = told(store, "tocsin.automation.action.")
    assert failed.payload["reason"] == row.reason == "given up after 9 attempts: silence"


def test_a_call_shows_no_secret() -> None:
    trigger = EventTrigger(expect=["x"])
    action = CallWebhook.model_validate({"url": "http://a", "secret": SECRET})
    assert SECRET not in repr(Automation(name="a", trigger=trigger, actions=[action]))
