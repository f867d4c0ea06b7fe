"""Twenty secrets in everything that takes one; every answer, command, log line and row is searched for them."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import pytest
import structlog
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import text
from sqlmodel import SQLModel

from tests.automations.parts import decided, define, happened, on
from tests.server.conftest import Api, serving
from tests.server.test_cli import Cli, cli
from tocsin.automations import CallWebhook
from tocsin.automations.perform import Performer
from tocsin.events.clock import ManualClock
from tocsin.notifiers import Apprise, Email, PagerDuty, PagerDutyChanges, Secret, Slack, SlackWebhook, Webhook
from tocsin.notifiers.blocks import AnyBlock
from tocsin.notifiers.http import Door
from tocsin.notifiers.registry import put_notifier
from tocsin.notifiers.standins import Fail, Reset, WebhookStandIn
from tocsin.notifiers.tables import NotifierRow
from tocsin.notifiers.vault import put_secret
from tocsin.server.logs import set_up
from tocsin.server.settings import Settings
from tocsin.store.engine import Store
from tocsin.triggers.hook import hook_from
from tocsin.triggers.hooks import put_hook

__all__ = ["cli"]

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = Fernet.generate_key().decode()
API_KEY = "planted-api-key-0123456789"
P = {
    name: f"planted-{name}-0123456789"
    for name in (
        "token",
        "signing",
        "app",
        "hook-path-of-slack",
        "webhook",
        "second-webhook",
        "url-password",
        "url-token",
        "user",
        "mail",
        "apprise-pass",
        "apprise-path",
        "vault",
        "header",
        "bearer",
        "github",
        "database",
        "kafka",
        "kafka-key",
    )
}
ROUTING, CHANGES = "planted-routing".ljust(32, "x"), "planted-changes".ljust(32, "x")
SIGNING, CALLING = "cGxhbnRlZC1vZi10aGUtd2ViaG9vay1ibG9ja2tr", "cGxhbnRlZC1vZi10aGUtY2FsbC13ZWJob29rLS0t"
PLANTED = [*P.values(), ROUTING, CHANGES, SIGNING, CALLING, KEY, API_KEY]


KINDS = ("slack", "hook", "pager", "changes", "webhook", "mail", "apprise", "by-name")


def blocks(receiver: WebhookStandIn) -> list[AnyBlock]:
    """One notifier of each kind, a secret in every field that takes one; all at an address where nobody is."""
    gone = "http://127.0.0.1:9"
    return [
        Slack(
            name="slack",
            token=SecretStr(P["token"]),
            channel="C0123456789",
            signing_secret=SecretStr(P["signing"]),
            app_token=SecretStr(P["app"]),
            api_url=f"{gone}/api/",
        ),
        SlackWebhook(name="hook", url=SecretStr(f"{gone}/services/{P['hook-path-of-slack']}")),
        PagerDuty(
            name="pager",
            routing_key=SecretStr(ROUTING),
            url=gone,
            webhook_secret=SecretStr(f"{P['webhook']},{P['second-webhook']}"),
        ),
        PagerDutyChanges(name="changes", routing_key=SecretStr(CHANGES), url=gone),
        Webhook(
            name="webhook",
            url=SecretStr(f"http://me:{P['url-password']}@{receiver.host}/in?token={P['url-token']}"),
            secret=SecretStr(f"whsec_{SIGNING}"),
            allow_private=(receiver.host,),
        ),
        Email(
            name="mail",
            host="127.0.0.1",
            port=9,
            user=SecretStr(P["user"]),
            password=SecretStr(P["mail"]),
            sender="tocsin@orders.example",
            recipients=("oncall@orders.example",),
        ),
        Apprise(name="apprise", url=SecretStr(f"json://me:{P['apprise-pass']}@127.0.0.1:9/{P['apprise-path']}")),
        Slack(name="by-name", token=Secret.ref("vault"), channel="C0123456789", api_url=f"{gone}/api/"),
    ]


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """The logging of the process, put back at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("TOCSIN_SECRET_KEY", KEY)
    return Settings(
        port=0,
        api_key=SecretStr(API_KEY),
        secret_key=SecretStr(KEY),
        kafka_sasl_password=SecretStr(P["kafka"]),
        kafka_ssl_key_password=SecretStr(P["kafka-key"]),
        log_level="DEBUG",
        log_format="json",
    )


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    store = Store.open(sqlite_url, create=True)
    yield store
    store.close()


@pytest.fixture
async def api(sqlite_store: Store, settings: Settings) -> AsyncIterator[Api]:
    async with serving(sqlite_store, settings) as running:
        yield running


def plant(store: Store, receiver: WebhookStandIn) -> None:
    """Notifiers, a secret by name, a hook, and an automation that calls; one notifier that cannot be read."""
    github = {
        "name": "shop",
        "verify": {"kind": "github", "secret": P["github"]},
        "mapping": {"event": "'shop.order'", "resource": "body.id"},
    }
    call = CallWebhook(
        url=receiver.url.partition("?")[0],
        headers={"x-key": SecretStr(P["header"]), "authorization": SecretStr(f"Bearer {P['bearer']}")},
        secret=SecretStr(f"whsec_{CALLING}"),
        allow_private=(receiver.host,),
        payload={"text": "{{ no.such.thing }}"},
    )
    with store.begin() as session:
        put_secret(session, Secret(name="vault", value=SecretStr(P["vault"])))
        for block in blocks(receiver):
            put_notifier(session, block)
        put_hook(session, hook_from(github, "test"), NOW)
        put_notifier(session, SlackWebhook(name="broken", url=SecretStr("https://hooks.slack.com/services/x")))
        row = session.get(NotifierRow, "broken")
        assert row is not None
        row.secrets = Fernet(Fernet.generate_key()).encrypt(P["token"].encode()).decode()
        session.add(row)
    define(store, on("orders.loaded", call))


async def perform(store: Store, clock: ManualClock, receiver: WebhookStandIn) -> None:
    """Let the automation call a receiver that says all it was told, and one that hangs up."""
    echo = json.dumps({"headers": PLANTED})
    receiver.fail(Fail(400, echo), Fail(500, echo), Reset(accept=True))
    await decided(store, clock, *(happened("x", number=number) for number in range(3)))
    async with Door() as door:
        performer = Performer(store, clock, door)
        while await performer.turn():
            pass
        await performer.settle()


async def asked(api: Api) -> str:
    """What the API answers, wherever something of this is to be seen."""
    headers, shown = {"Authorization": f"Bearer {API_KEY}"}, []
    for path in ("notifiers", "hooks", "hooks/shop", "automations", "automations/orders.loaded", "incidents", "events"):
        shown.append((await api.ask("GET", f"/api/{path}", headers=headers)).body)
    for name in (*KINDS, "broken", "nobody"):
        shown.append((await api.post(f"/api/notifiers/{name}/test", headers=headers)).body)
        signed = {"X-PagerDuty-Signature": f"v1={P['webhook']}", "Content-Type": "application/json"}
        shown.append((await api.post(f"/api/pagerduty/{name}", data=b"{}", headers=signed)).body)
    shown.append((await api.post("/api/hooks/shop", json={"id": P["github"]})).body)
    wrong = {"Authorization": f"Bearer {API_KEY}x"}
    shown.append((await api.ask("GET", "/api/notifiers", headers=wrong)).body)
    return b"\n".join(shown).decode()


def said(cli: Cli) -> str:
    """What the command line prints about all of it."""
    lines = [
        ("notifier", "ls"),
        ("secret", "ls"),
        ("secret", "rm", "vault"),
        ("hook", "show", "shop"),
        ("automation", "ls"),
        ("automation", "show", "orders.loaded"),
        ("automation", "export"),
        ("incident", "ls"),
        ("delivery", "ls"),
        ("notifier", "test", "broken"),
    ]
    done = [cli(*line, *more) for line in lines for more in ((), ("-o", "json"))]
    return "\n".join(f"{one.out}{one.err}" for one in done)


def stored(store: Store) -> str:
    with store.read() as session:
        tables = [session.execute(text(f'SELECT * FROM "{table}"')) for table in SQLModel.metadata.tables]
        return "\n".join(str(tuple(row)) for rows in tables for row in rows)


async def test_no_planted_secret_is_seen_in_answers_rows_or_logs(
    api: Api,
    settings: Settings,
    sqlite_store: Store,
    clock: ManualClock,
    receiver: WebhookStandIn,
    capfd: pytest.CaptureFixture[str],
) -> None:
    set_up(settings.model_copy(update={"database_url": SecretStr(f"postgresql://t:{P['database']}@db/t")}), "server")
    plant(sqlite_store, receiver)
    answers = await asked(api)
    await perform(sqlite_store, clock, receiver)
    for secret in PLANTED:  # as a library would write them, alone and in the midst of something
        logging.getLogger("a.library").debug("sent %s to %r", secret, {"x": f"<{secret}>"})
        try:
            try:
                raise ValueError(secret)
            except ValueError as error:
                raise RuntimeError("it failed") from error
        except RuntimeError:
            logging.getLogger("a.library").exception("failed with %s", secret)
    answers += await asked(api)
    written = capfd.readouterr().err
    assert len(PLANTED) >= 20
    assert (len(answers) > 5_000, written.count("\n") > 60) == (True, True)
    shown = answers + written + stored(sqlite_store)
    assert [secret for secret in PLANTED if secret in shown] == []


def test_no_planted_secret_is_printed(
    cli: Cli, settings: Settings, sqlite_store: Store, receiver: WebhookStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOCSIN_DATABASE_URL", str(sqlite_store.engine.url))
    plant(sqlite_store, receiver)
    shown = said(cli)
    assert "slack" in shown
    assert "referred to by by-name" in shown
    assert [secret for secret in PLANTED if secret in shown] == []
