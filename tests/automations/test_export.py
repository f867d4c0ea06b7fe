"""Definitions as code: written out and read back they are the same, secrets stay where they are."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from tests.automations.parts import START, define
from tocsin.automations import store as stored
from tocsin.automations.actions import KINDS
from tocsin.automations.actions_messages import CallWebhook
from tocsin.automations.documents import parse
from tocsin.automations.export import Format, export
from tocsin.automations.model import Automation
from tocsin.automations.secrets import MASK, reveal
from tocsin.events.errors import Invalid
from tocsin.store.engine import Store

FORMS: tuple[Format, ...] = ("yaml", "json", "python")
HOOK = "https://example.com/hook"

DEFINITIONS: list[dict[str, Any]] = [
    {"name": "least", "trigger": {"expect": ["x"]}},
    {
        "name": "words that look like something else",
        "description": "no\n  on: 12:30\ttab ",
        "tags": ["1.0e5", "null", "0x10", "<<", "=", "- a", "#", "äöü", "🔥", "1_000", ""],
        "severity": "critical",
        "enabled": False,
        "trigger": {
            "match": {"team": ["sales", "!ops"], "shop": "b*"},
            "match_related": [{"tocsin.resource.id": "a"}, {"kind": ["b", "c"]}],
            "expect": ["b", "a"],
            "for_each": ["tocsin.resource.id", "related:shop:name"],
            "threshold": 3,
            "within": 90.5,
        },
        "resolve_on": {"expect": ["over"], "for_each": ["one", "two"]},
        "actions": [
            {"type": "send-notification", "notifier": "slack", "subject": 'it\'s "{{ event.event }}"', "body": "a\nb"},
            {"type": "run-deployment", "deployment": "etl", "parameters": {"n": 1, "on": None, "x": 1.5, "l": [True]}},
            {"type": "run-deployment", "source": "inferred", "schedule_after": 60},
        ],
        "actions_on_trigger": [{"type": "retry-flow-run", "budget": 5, "delay": "PT1M", "factor": 1.5}],
        "actions_on_resolve": [{"type": "call-webhook", "url": HOOK, "payload": ["{{ firing.count }}", {"a": 2**40}]}],
        "rate_limit": None,
    },
    {
        "name": "silence",
        "trigger": {
            "posture": "Proactive",
            "after": ["begun"],
            "expect": ["done"],
            "where": "payload.rows > `3` && resource.team == 'a'",
            "within": 60,
            "grace": 5,
            "cooldown": 3600,
        },
        "actions": [{"type": "change-flow-run-state", "state": "CRASHED"}, {"type": "emit-event", "event": "x.y"}],
    },
    {"name": "tumbling", "trigger": {"expect": ["x"], "window": "tumbling", "within": 60, "threshold": 2}},
    {
        "name": "nested",
        "trigger": {
            "type": "sequence",
            "within": 7200,
            "for_each": ["shop"],
            "triggers": [
                {"expect": ["a"]},
                {"require": 1, "cooldown": 5, "triggers": [{"expect": ["b"], "for_each": ["shop"]}, {"expect": ["c"]}]},
            ],
        },
    },
    {
        "name": "metric",
        "trigger": {
            "expect": ["order"],
            "metric": {
                "value": "payload.amount",
                "aggregate": "max",
                "operator": ">=",
                "threshold": 1.5,
                "range": 600,
                "firing_for": 0,
            },
        },
        "actions_on_resolve": [{"type": "do-nothing"}],
    },
]


def made(definition: dict[str, Any]) -> Automation:
    return Automation.model_validate(definition)


def read_back(text: str, form: Format) -> list[Automation]:
    if form != "python":
        return parse(text, f"export.{form}")
    names: dict[str, Any] = {}
    exec(text, names)
    found: list[Automation] = names["automations"]
    return found


@pytest.mark.parametrize("form", FORMS)
def test_what_is_exported_reads_back_the_same(form: Format) -> None:
    automations = [made(one) for one in DEFINITIONS]
    assert read_back(export(automations, form), form) == automations


TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(-1e6, 1e6) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.data())
def test_any_text_and_any_payload_survive(data: st.DataObject) -> None:
    payload = data.draw(st.dictionaries(TEXTS.filter(_plain), JSON.filter(_plain), max_size=4))
    automation = made(
        {
            "name": "any",
            "trigger": {"expect": ["x"], "within": data.draw(st.integers(0, 10**12)) / 1_000_000},
            "description": data.draw(TEXTS),
            "tags": data.draw(st.lists(TEXTS, max_size=3)),
            "actions": [{"type": "call-webhook", "url": HOOK, "payload": payload}],
        }
    )
    for form in FORMS:
        assert read_back(export([automation], form), form) == [automation], form


def _plain(value: object) -> bool:
    """Not a template: those are checked when they are read, and not what this is about."""
    return not any(sign in str(value) for sign in ("{{", "{%", "{#"))


@pytest.mark.parametrize("form", FORMS)
def test_from_python_to_the_database_to_a_file_and_back_nothing_changes(store: Store, form: Format) -> None:
    secret = CallWebhook(url=HOOK, secret=SecretStr("whsec_hush"), headers={"authorization": SecretStr("hush")})
    automations = [made({"name": "hook", "trigger": {"expect": ["x"]}, "actions": [secret]}), *map(made, DEFINITIONS)]
    define(store, *automations)
    with store.read() as session:
        text = export([listed.automation for listed in stored.list_automations(session)], form)
    assert "hush" not in text
    assert MASK in text
    with store.begin() as session:
        applied = stored.apply(session, read_back(text, form), START + timedelta(days=1))
        again = {one.automation.name: one.automation for one in stored.list_automations(session)}
    assert {one.change for one in applied} == {"unchanged"}
    kept = again["hook"].actions[0]
    assert isinstance(kept, CallWebhook)
    assert kept.secret is not None
    assert reveal(kept.secret.get_secret_value()) == "whsec_hush"
    assert all(again[one.name] == one for one in automations[1:])


def hook(*actions: dict[str, Any], name: str = "hook", **more: Any) -> Automation:
    webhooks = [{"type": "call-webhook", **action} for action in actions]
    return made({"name": name, "trigger": {"expect": ["x"]}, "actions": webhooks, **more})


def test_only_a_webhook_has_secrets() -> None:
    keepers = {kind for kind in KINDS for field in kind.model_fields.values() if "SecretStr" in str(field.annotation)}
    assert keepers == {CallWebhook}


ONE = {"url": HOOK, "headers": {"authorization": "hush", "x-team": "ops"}, "secret": "whsec_one"}
OTHER = {"url": HOOK, "secret": "whsec_other"}


def secrets_of(store: Store) -> list[str]:
    with store.read() as session:
        automation = stored.get(session, "hook").automation
    found = []
    for action in automation.actions:
        assert isinstance(action, CallWebhook)
        found += [secret.get_secret_value() for secret in (*action.headers.values(), action.secret) if secret]
    return sorted(reveal(text) for text in found)


def test_a_mask_keeps_the_secret_while_all_else_changes(store: Store) -> None:
    define(store, hook(ONE))
    changed = {"url": HOOK, "headers": {"authorization": MASK, "x-team": "dev"}, "secret": MASK, "payload": {"n": 1}}
    define(store, hook({"url": "https://example.com/first"}, changed, description="new"))
    assert secrets_of(store) == ["dev", "hush", "whsec_one"]


def test_of_two_secrets_of_one_address_the_place_decides(store: Store) -> None:
    define(store, hook(ONE, OTHER))
    define(store, hook({"url": HOOK, "secret": MASK}, {"url": HOOK, "secret": MASK}))
    assert secrets_of(store) == ["whsec_one", "whsec_other"]


REFUSED = [
    pytest.param([], hook({"url": HOOK, "secret": MASK}), "actions.0.secret.*none is stored", id="nothing on record"),
    pytest.param(
        [hook(ONE)], hook({**ONE, "headers": {"authorization": "x"}, "secret": MASK, "url": "https://evil.test/"}),
        "none is stored for this address", id="a secret stays with its address",
    ),
    pytest.param([hook(ONE)], hook({"url": HOOK, "headers": {"other": MASK}}), "headers.other", id="another header"),
    pytest.param([hook(ONE)], hook({"url": HOOK, "secret": MASK}, name="new"), "none is stored", id="another name"),
    pytest.param(
        [hook(ONE, OTHER)], hook({"url": "http://a"}, {"url": "http://b"}, {"url": HOOK, "secret": MASK}),
        "several are stored", id="which of two",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("before", "after", "said"), REFUSED)
def test_a_mask_with_nothing_behind_it_is_refused(
    store: Store, before: list[Automation], after: Automation, said: str
) -> None:
    define(store, *before)
    with pytest.raises(Invalid, match=said):
        define(store, after)
