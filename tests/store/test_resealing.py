"""Changing the key: everything that is sealed comes to the new one, however often it is interrupted."""

import stat
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import text

from tocsin.automations import store as automations
from tocsin.automations.documents import automation_from
from tocsin.events.errors import Invalid
from tocsin.notifiers import PagerDuty, Secret, Slack, put_notifier, put_secret
from tocsin.notifiers.registry import get_notifier
from tocsin.store.engine import Store
from tocsin.store.resealing import reseal_all
from tocsin.store.secrets import TOKEN, add_key, seal, unseal
from tocsin.triggers.hook import hook_from
from tocsin.triggers.hooks import get_hook, put_hook

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
PAGERS = 24
CALL = {
    "name": "caller",
    "trigger": {"expect": ["x"]},
    "actions": [
        {"type": "call-webhook", "url": "https://a.example", "headers": {"x-key": "planted-header-key"}},
    ],
}
HOOK = {
    "name": "shop",
    "mapping": {"event": "'shop.order'", "resource": "body.id"},
    "verify": {"kind": "github", "secret": "planted-hook-secret-0123"},
}


def fill(store: Store) -> None:
    """Secrets in every table that has some: more notifiers than go into one batch."""
    with store.begin() as session:
        put_secret(session, Secret(name="token", value=SecretStr("xoxb-planted-0123456789")), NOW)
        put_notifier(session, Slack(name="slack", token=Secret.ref("token"), channel="C1"), NOW)
        for number in range(PAGERS):
            key = SecretStr(f"planted{number}".ljust(32, "z"))
            put_notifier(session, PagerDuty(name=f"pager{number:03}", routing_key=key), NOW)
        put_hook(session, hook_from(HOOK, "test"), NOW)
        automations.apply(session, [automation_from(CALL)], NOW)


def tokens(store: Store) -> list[str]:
    """Every token in the database, found without knowing where."""
    with store.read() as session:
        rows = [
            str(tuple(row))
            for table in ("secret", "notifier", "hook", "automation")
            for row in session.execute(text(f"SELECT * FROM {table}"))
        ]
    return TOKEN.findall("".join(rows))


@pytest.fixture
def keys(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Sets the keys by number; the same number is the same key."""
    made = [Fernet.generate_key().decode() for _ in range(3)]

    def choose(*numbers: int) -> list[str]:
        monkeypatch.setenv("TOCSIN_SECRET_KEY", ",".join(made[number] for number in numbers))
        return made

    return choose


def opens_all(store: Store) -> bool:
    try:
        return all(unseal(token) for token in tokens(store))
    except Invalid:
        return False


def test_everything_comes_to_the_first_key(store: Store, keys: Callable[..., list[str]]) -> None:
    keys(0)
    fill(store)
    assert len(tokens(store)) == PAGERS + 4
    keys(1, 0)
    done = list(reseal_all(store, rows=10))
    assert sum(batch.resealed for batch in done) == PAGERS + 4
    assert {batch.table for batch in done if batch.resealed} == {"secret", "notifier", "hook", "automation"}
    assert not any(batch.unreadable for batch in done)
    assert sum(batch.resealed for batch in reseal_all(store)) == 0
    keys(1)
    assert opens_all(store)
    with store.read() as session:
        block = get_notifier(session, "slack")
        assert isinstance(block, Slack)
        assert block.token.get_secret_value() == "xoxb-planted-0123456789"
        verify = get_hook(session, "shop").verify
        assert verify is not None
        assert list(verify.secrets) == ["planted-hook-secret-0123"]


@pytest.mark.parametrize("batches", [1, 2, 4])
def test_who_is_stopped_anywhere_can_go_on(store: Store, keys: Callable[..., list[str]], batches: int) -> None:
    keys(0)
    fill(store)
    keys(1, 0)
    list(islice(reseal_all(store, rows=10), batches))
    assert opens_all(store)
    list(reseal_all(store))
    keys(1)
    assert opens_all(store)


def test_a_token_that_no_key_opens_is_counted_and_left(store: Store, keys: Callable[..., list[str]]) -> None:
    keys(2)
    with store.begin() as session:
        put_secret(session, Secret(name="lost", value=SecretStr("planted-lost")), NOW)
    before = tokens(store)
    keys(1, 0)
    assert [(batch.resealed, batch.unreadable) for batch in reseal_all(store)] == [(0, 1)]
    assert tokens(store) == before


def test_a_new_key_of_the_file_seals_and_the_old_ones_open(home: Path) -> None:
    before = seal("hunter2")
    path = add_key()
    first, second = path.read_text().split()
    assert path == home / "secret.key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert unseal(before) == "hunter2"
    assert Fernet(first).decrypt(seal("hunter3")) == b"hunter3"
    assert Fernet(second).decrypt(before) == b"hunter2"


def test_keys_of_the_environment_are_changed_there(keys: Callable[..., list[str]]) -> None:
    keys(0)
    with pytest.raises(Invalid, match="TOCSIN_SECRET_KEY"):
        add_key()
