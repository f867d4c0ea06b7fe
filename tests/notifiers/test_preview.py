"""A preview shows exactly what would be sent, and sends nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from pydantic import SecretStr

from tests.notifiers.office import Office
from tocsin.events.clock import ManualClock
from tocsin.events.errors import Invalid, NotFound
from tocsin.notifiers.alert import Alert
from tocsin.notifiers.blocks import PagerDuty
from tocsin.notifiers.matchers import read_matchers
from tocsin.notifiers.preview import masked, read_sample, rendered, see
from tocsin.notifiers.redact import MASK, learn
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.route import Route
from tocsin.notifiers.silences import add_silence
from tocsin.notifiers.view import View
from tocsin.store.engine import Store

ROUTES = (
    Route.model_validate({"name": "oncall", "receivers": ["slack"], "group_by": ["team"], "group_wait": "0s"}),
    Route.model_validate(
        {
            "name": "slow",
            "receivers": ["slack", "hook"],
            "group_by": ["alertname"],
            "group_wait": "30s",
            "escalation": [{"after": "5m", "receivers": ["pager"]}],
        }
    ),
)


@pytest.fixture
def office(store: Store, clock: ManualClock) -> Office:
    office = Office(store, clock)
    office.furnish(*ROUTES)
    return office


def seen(office: Office, name: str, alert: Alert) -> View | None:
    with office.store.read() as session:
        found = see(session, name, alert, office.clock.now())
    return found.view if found else None


WAYS: list[tuple[str, str, str, dict[str, Any]]] = [
    ("directly", "@slack", "slack", {}),
    ("news", "@hook", "hook", {"lasting": False}),
    ("by a route", "oncall", "slack", {"severity": "critical", "items": ("a", "b"), "total": 9}),
    ("by a route that waits", "slow", "hook", {"body": "12 % bad rows"}),
]


@pytest.mark.parametrize(("to", "name", "more"), [row[1:] for row in WAYS], ids=[row[0] for row in WAYS])
def test_a_preview_is_what_is_sent(office: Office, to: str, name: str, more: dict[str, Any]) -> None:
    alert = office.alert("etl", to, **more)
    view = seen(office, name, alert)
    assert office.deliveries(name) == []
    office.take(alert)
    office.pass_time(60)
    assert office.views(name) == [view]


def test_the_end_of_a_thing_is_previewed_too(office: Office) -> None:
    view = seen(office, "slack", office.alert("etl", "@slack", over=True, subject="etl is fine"))
    assert view is not None
    assert (view.action, view.state, view.subject) == ("resolve", "resolved", "etl is fine")


def test_an_alert_that_does_not_come_to_a_notifier_has_no_preview(office: Office) -> None:
    assert seen(office, "pager", office.alert("etl", "oncall")) is None
    with pytest.raises(NotFound, match='unknown notifier "slak"'):
        seen(office, "slak", office.alert("etl", "oncall"))
    with pytest.raises(NotFound, match='unknown route "nobody"'):
        seen(office, "slack", office.alert("etl", "nobody"))


def silenced(office: Office) -> None:
    now = office.clock.now()
    with office.store.begin() as session:
        ends = now + timedelta(hours=2)
        add_silence(session, read_matchers('team="db"'), starts=now, ends=ends, author="ann", comment="", now=now)


NOTES: list[tuple[str, Callable[[Office], object], str, str]] = [
    ("a group that waits", lambda office: None, "hook", "it would be sent after 30 s"),
    ("a step of escalation", lambda office: None, "pager", "slow tells it by escalation only"),
    ("a silence", silenced, "hook", "it would not be sent now: silenced by ann"),
    ("an incident that is open", lambda office: office.fire("etl", to="slow"), "hook", "has an open incident"),
]


@pytest.mark.parametrize(("before", "name", "note"), [row[1:] for row in NOTES], ids=[row[0] for row in NOTES])
def test_a_note_says_what_would_become_of_it(
    office: Office, before: Callable[[Office], object], name: str, note: str
) -> None:
    before(office)
    with office.store.read() as session:
        found = see(session, name, office.alert("etl", "slow"), office.clock.now())
    assert found is not None
    assert any(note in one for one in found.notes), found.notes


async def test_a_secret_is_masked_and_the_minimal_form_is_smaller(office: Office) -> None:
    key = "0123456789abcdef0123456789abcdef"
    with office.store.begin() as session:
        put_notifier(session, PagerDuty(name="pager", routing_key=SecretStr(key)))
    alert = office.alert("etl", "@pager", body=f"the key is {key}", items=("one", "two"))
    with office.store.read() as session:
        found = see(session, "pager", alert, office.clock.now())
    assert found is not None
    [whole] = await rendered([found], office.clock)
    [minimal] = await rendered([found], office.clock, minimal=True)
    assert whole.body["payload"]["custom_details"]["body"] == f"the key is {MASK}"
    assert key not in json.dumps(whole.body)
    assert (whole.minimal, minimal.minimal, minimal.size < whole.size) == (False, True, True)


def test_masking_reaches_every_place_of_a_body() -> None:
    learn("very-secret-value")
    body = {"a": ["very-secret-value", 1, None, {"very-secret-value": "x very-secret-value y"}], "b": True}
    assert masked(body) == {"a": [MASK, 1, None, {MASK: f"x {MASK} y"}], "b": True}


SAMPLES: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (
        "a subject is enough",
        {"subject": "x"},
        {"severity": "error", "labels": {"alertname": "preview", "severity": "error"}},
    ),
    (
        "the severity of its labels",
        {"subject": "x", "labels": {"severity": "critical", "alertname": "etl"}},
        {"severity": "critical", "labels": {"severity": "critical", "alertname": "etl"}},
    ),
    ("over", {"subject": "x", "status": "resolved"}, {"status": "resolved"}),
]


@pytest.mark.parametrize(("document", "fields"), [row[1:] for row in SAMPLES], ids=[row[0] for row in SAMPLES])
def test_an_alert_is_read_from_json(clock: ManualClock, document: dict[str, Any], fields: dict[str, Any]) -> None:
    alert = read_sample(json.dumps(document).encode(), "slack", clock.now())
    assert {name: getattr(alert, name) for name in fields} == fields
    assert replace(alert).to.name == "slack"


BAD: list[tuple[str, str, str]] = [
    ("no JSON", "{", "the alert: "),
    ("no subject", "{}", "missing required field `subject`"),
    ("an unknown field", '{"subject": "x", "colour": "red"}', "unknown field `colour`"),
    (
        "an unknown severity",
        '{"subject": "x", "labels": {"severity": "bad"}}',
        'unknown severity "bad"; known: critical',
    ),
]


@pytest.mark.parametrize(("text", "said"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_no_alert_is_refused_by_field(clock: ManualClock, text: str, said: str) -> None:
    with pytest.raises(Invalid) as error:
        read_sample(text.encode(), "slack", clock.now())
    assert said in str(error.value)
