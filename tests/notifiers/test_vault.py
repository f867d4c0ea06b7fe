"""Secrets by name: sealed, referred to, changed in one place, and never shown."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import text

from tocsin.events.errors import Invalid, NotFound
from tocsin.notifiers import PagerDuty, Secret, Slack, Webhook, put_secret
from tocsin.notifiers.registry import get_notifier, is_on_record, list_notifiers, put_notifier
from tocsin.notifiers.tables import NotifierRow
from tocsin.notifiers.vault import get_secret, list_secrets, remove_secret
from tocsin.store.engine import Store

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
TOKEN = "xoxb-planted-token-0123456789"
KEY = "planted-routing-key".ljust(32, "z")
SLACK = Slack(name="slack", token=Secret.ref("slack token"), channel="C0123456789")
PAGER = PagerDuty(name="pager", routing_key=Secret.ref("key"))


def put(store: Store, name: str, value: str, now: datetime = NOW) -> None:
    with store.begin() as session:
        put_secret(session, Secret(name=name, value=SecretStr(value)), now)


def test_a_notifier_has_the_value_of_the_secret_it_refers_to(store: Store) -> None:
    put(store, "slack token", TOKEN)
    with store.begin() as session:
        put_notifier(session, SLACK, NOW)
    with store.read() as session:
        block = get_notifier(session, "slack")
        assert isinstance(block, Slack)
        assert block.token.get_secret_value() == TOKEN
        assert is_on_record(session, SLACK)
        assert not is_on_record(session, Slack(name="slack", token=SecretStr(TOKEN), channel="C0123456789"))
        assert list_notifiers(session)[0].config["token"] == "secret:slack token"
        assert [(one.name, one.used_by) for one in list_secrets(session)] == [("slack token", ("slack",))]


def test_a_changed_secret_changes_who_refers_to_it(store: Store) -> None:
    put(store, "slack token", TOKEN)
    with store.begin() as session:
        put_notifier(session, SLACK, NOW)
        put_notifier(session, Slack(name="other", token=SecretStr(TOKEN), channel="C1"), NOW)
    put(store, "slack token", "xoxb-planted-other-0123456789", NOW + timedelta(seconds=1))
    with store.read() as session:
        tokens = [get_notifier(session, name) for name in ("slack", "other")]
        assert [block.token.get_secret_value() for block in tokens if isinstance(block, Slack)] == [
            "xoxb-planted-other-0123456789",
            TOKEN,
        ]
        rows = [session.get(NotifierRow, name) for name in ("slack", "other")]
        assert [row.updated for row in rows if row] == [NOW + timedelta(seconds=1), NOW]


def test_a_value_that_does_not_fit_changes_nothing(store: Store) -> None:
    put(store, "key", KEY)
    with store.begin() as session:
        put_notifier(session, PAGER, NOW)
    with pytest.raises(Invalid, match='secret "key" does not fit the notifier "pager"') as caught:
        put(store, "key", "planted-short")
    assert "planted-short" not in str(caught.value)
    with store.read() as session:
        assert get_secret(session, "key").get_secret_value() == KEY
        block = get_notifier(session, "pager")
        assert isinstance(block, PagerDuty)
        assert block.routing_key.get_secret_value() == KEY


def test_a_reference_to_what_is_not_there_names_the_way_out(store: Store) -> None:
    put(store, "other", "planted-other")
    with store.begin() as session, pytest.raises(NotFound, match=r"tocsin secret put.*known: other"):
        put_notifier(session, SLACK, NOW)
    with store.begin() as session, pytest.raises(Invalid, match='does not fit with secret "other" in url'):
        put_notifier(session, Webhook(name="w", url=Secret.ref("other"), secret=SecretStr("whsec_" + "A" * 32)), NOW)


def test_a_secret_in_use_stays(store: Store) -> None:
    put(store, "slack token", TOKEN)
    with store.begin() as session:
        put_notifier(session, SLACK, NOW)
    with store.begin() as session, pytest.raises(Invalid, match="referred to by slack"):
        remove_secret(session, "slack token")
    with store.begin() as session, pytest.raises(NotFound, match="known: slack token"):
        remove_secret(session, "slak")
    put(store, "spare", "planted-spare")
    with store.begin() as session:
        remove_secret(session, "spare")
    with store.read() as session:
        assert [one.name for one in list_secrets(session)] == ["slack token"]


def test_no_value_is_in_the_rows_or_shown(store: Store) -> None:
    secret = Secret(name="slack token", value=SecretStr(TOKEN))
    put(store, secret.name, TOKEN)
    with store.begin() as session:
        put_notifier(session, SLACK, NOW)
    with store.read() as session:
        rows = [
            str(tuple(row))
            for table in ("secret", "notifier")
            for row in session.execute(text(f"SELECT * FROM {table}"))
        ]
        shown = [
            *rows,
            str(list_secrets(session)),
            str(list_notifiers(session)),
            repr(secret),
            secret.model_dump_json(),
        ]
    assert TOKEN not in "".join(shown)
    with pytest.raises(ValidationError) as caught:
        Secret.model_validate({"name": "a/b", "value": TOKEN})
    assert TOKEN not in str(caught.value)
