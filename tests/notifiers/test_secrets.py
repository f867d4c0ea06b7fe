"""Secrets are planted in every block, every error path is walked with DEBUG on: none may be seen anywhere after."""

import base64
import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import text
from sqlmodel import SQLModel

from tests.notifiers.desk import Desk
from tocsin.events.clock import ManualClock
from tocsin.notifiers.blocks import AnyBlock, Apprise, Email, PagerDuty, PagerDutyChanges, Slack, SlackWebhook, Webhook
from tocsin.notifiers.dispatch import Dispatcher
from tocsin.notifiers.probe import send_test
from tocsin.notifiers.redact import MASK, RedactingFilter, Redactor, learn, redact, redacted_logger
from tocsin.notifiers.registry import list_notifiers
from tocsin.notifiers.standins import (
    Error,
    Fail,
    Fault,
    PagerDutyStandIn,
    RateLimited,
    Reset,
    SlackStandIn,
    SmtpFault,
    SmtpStandIn,
    WebhookStandIn,
)
from tocsin.notifiers.standins.loopback import StandIn
from tocsin.notifiers.standins.smtp import Step
from tocsin.store.engine import Store


@pytest.fixture
def mail() -> Iterator[SmtpStandIn]:
    with SmtpStandIn("starttls", user="planted-user-0", password="planted-mail-password-0") as stand_in:
        yield stand_in


@pytest.fixture
def planted(
    slack: SlackStandIn, pagerduty: PagerDutyStandIn, receiver: WebhookStandIn, mail: SmtpStandIn
) -> list[AnyBlock]:
    """Two notifiers of each kind, each with secrets of its own in every field that has one: twenty and more."""
    found: list[AnyBlock] = []
    for number in (0, 1):
        found += [*of_slack(number, slack), *of_pagerduty(number, pagerduty), *others(number, receiver, mail)]
    return found


def of_slack(number: int, slack: SlackStandIn) -> list[AnyBlock]:
    path = f"services/T{number}/B{number}/planted{number}XXXXXXXXXXXXXXXX"
    return [
        Slack(
            name=f"slack{number}",
            token=SecretStr(f"xoxb-planted-{number}-pdFZKVeTuE8sk7oOcHrzqqgy"),
            channel=slack.channel,
            api_url=slack.api_url,
            signing_secret=SecretStr(f"planted-signing-of-slack-{number}"),
            app_token=SecretStr(f"xapp-planted-{number}-pdFZKVeTuE8sk7oOc"),
        ),
        SlackWebhook(name=f"hook{number}", url=SecretStr(f"{slack.address}/{path}")),
    ]


def of_pagerduty(number: int, pagerduty: PagerDutyStandIn) -> list[AnyBlock]:
    changed = SecretStr(f"changed{number}".ljust(32, "z"))
    return [
        PagerDuty(
            name=f"pager{number}",
            routing_key=SecretStr(f"planted{number}".ljust(32, "z")),
            url=pagerduty.url,
            webhook_secret=SecretStr(f"planted-webhook-secret-{number}, planted-second-secret-{number}"),
        ),
        PagerDutyChanges(name=f"changes{number}", routing_key=changed, url=pagerduty.url),
    ]


def others(number: int, receiver: WebhookStandIn, mail: SmtpStandIn) -> list[AnyBlock]:
    signing = "whsec_" + base64.b64encode(f"planted signing secret {number}".encode().ljust(32)).decode()
    return [
        Email(
            name=f"mail{number}",
            host=mail.host,
            port=mail.port,
            ca_file=mail.ca_file,
            user=SecretStr(f"planted-user-{number}"),
            password=SecretStr(f"planted-mail-password-{number}"),
            sender="tocsin@orders.example",
            recipients=("oncall@orders.example",),
        ),
        Apprise(
            name=f"apprise{number}",
            url=SecretStr(f"json://me:planted-apprise-pass-{number}@{receiver.host}/planted-apprise-path-{number}"),
        ),
        Webhook(
            name=f"webhook{number}",
            url=SecretStr(f"http://me:planted{number}word@{receiver.host}/in?token=planted{number}token0123456"),
            secret=SecretStr(signing),
            allow_private=(receiver.host,),
        ),
    ]


def secrets_of(blocks: list[AnyBlock]) -> list[str]:
    """Every secret, and the part of a URL that is one."""
    found = []
    for block in blocks:
        match block:
            case SlackWebhook():
                found.append(block.url.get_secret_value().rpartition("/")[2])
            case Webhook():
                number = block.name.removeprefix("webhook")
                signing = block.secret.get_secret_value().removeprefix("whsec_")
                found += [signing, f"planted{number}word", f"planted{number}token0123456"]
            case Apprise():
                number = block.name.removeprefix("apprise")
                found += [f"planted-apprise-pass-{number}", f"planted-apprise-path-{number}"]
            case _:
                values = [getattr(block, field) for field in type(block).model_fields]
                whole = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
                found += [part.strip() for value in whole for part in value.split(",")]
    return found


def everything(store: Store, caplog: pytest.LogCaptureFixture) -> str:
    """All that was logged, all that is in the rows."""
    shown = [f"{record.getMessage()} {record.exc_text}" for record in caplog.records] + [caplog.text]
    with store.read() as session:
        for table in SQLModel.metadata.tables:
            shown += [str(tuple(row)) for row in session.connection().execute(text(f'SELECT * FROM "{table}"'))]
        shown += [str(listed) for listed in list_notifiers(session)]
    return "\n".join(shown)


@pytest.fixture
def debug(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG):
        yield caplog


def faults_that_echo(secrets: list[str]) -> list[Fault | None]:
    """Every way to fail, the answers full of the secrets; None is success."""
    echo = json.dumps({"message": " ".join(secrets), "errors": secrets})
    return [
        Fail(500, echo),
        Fail(400, echo),
        Fail(401, " ".join(secrets)),
        Fail(302, headers={"Location": f"/{secrets[0]}"}),
        RateLimited(1),
        Error(secrets[0]),
        Reset(),
        Reset(accept=True),
        None,
    ]


async def walk(desk: Desk, planted: list[AnyBlock], stand_ins: list[StandIn], mail: SmtpStandIn) -> None:
    """Every fault for every notifier, a test message to each kind, and at last nobody answers any more."""
    secrets, everybody = secrets_of(planted), [block.name for block in planted]
    for number, fault in enumerate(faults_that_echo(secrets)):
        for stand_in in stand_ins:
            stand_in.fail(*([fault] * 40 if fault is not None else []))
        mail.heal()
        if fault is not None:
            step: Step = ("connect", "mail", "data", "content")[number % 4]
            mail.fail(*[SmtpFault(step, 554 if number % 2 else None, " ".join(secrets)[:800])] * 8)
        desk.fire(*everybody, key=f"k{number}", body=f"said {' '.join(secrets)}")
        desk.over(*everybody, key=f"k{number}")
        await desk.dispatcher.run_due()
        desk.pass_time(60)
        await desk.dispatcher.run_due()
    for block in planted[:7]:
        await send_test(desk.store, block.name, clock=desk.clock)
    for stand_in in stand_ins:
        stand_in.close()
    desk.fire(*everybody, key="gone")
    await desk.dispatcher.run_due()
    await desk.dispatcher.close()


async def test_no_planted_secret_is_seen_on_any_error_path(
    debug: pytest.LogCaptureFixture,
    store: Store,
    clock: ManualClock,
    planted: list[AnyBlock],
    slack: SlackStandIn,
    pagerduty: PagerDutyStandIn,
    receiver: WebhookStandIn,
    mail: SmtpStandIn,
) -> None:
    secrets = secrets_of(planted)
    assert len(secrets) >= 30
    slack.token, pagerduty.routing_key = secrets[0], "planted0".ljust(32, "z")
    desk = Desk(store, clock, Dispatcher(store, clock, jitter=lambda: 0.5))
    desk.put(*planted)
    await walk(desk, planted, [slack, pagerduty, receiver], mail)
    shown = everything(store, debug)
    assert len(shown) > 50_000
    assert all(desk.attempts(block.name) for block in planted)
    assert {"tocsin.notifiers.slack", "urllib3.connectionpool", "apprise"} <= {record.name for record in debug.records}
    assert [secret for secret in secrets if secret in shown] == []
    assert MASK in shown


def test_the_log_of_slack_sdk_holds_the_url_without_the_filter(caplog: pytest.LogCaptureFixture) -> None:
    """Why the filter is there: what slack-sdk writes at DEBUG, with it and without."""
    line = "Sending a request - url: https://hooks.slack.com/services/T/B/planted-in-a-url-0123"
    learn("https://hooks.slack.com/services/T/B/planted-in-a-url-0123")
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("bare").debug(line)
        redacted_logger("tocsin.tests.masked").debug(line)
    bare, masked = caplog.records
    assert "planted-in-a-url-0123" in bare.getMessage()
    assert "planted-in-a-url-0123" not in masked.getMessage()


@pytest.mark.parametrize(
    "form",
    [
        pytest.param('k3y with / and " and ü', id="as it is"),
        pytest.param("k3y%20with%20/%20and%20%22%20and%20%C3%BC", id="URL-quoted"),
        pytest.param("k3y%20with%20%2F%20and%20%22%20and%20%C3%BC", id="URL-quoted, slashes too"),
        pytest.param('k3y with / and \\" and \\u00fc', id="inside JSON"),
    ],
)
def test_a_secret_is_known_in_the_forms_in_which_it_travels(form: str) -> None:
    redactor = Redactor()
    redactor.learn('k3y with / and " and ü')
    assert redactor.redact(f"before {form} after") == f"before {MASK} after"


def test_a_short_value_is_left_alone() -> None:
    redactor = Redactor()
    redactor.learn("a", "12345")
    assert redactor.redact("a 12345") == "a 12345"


def test_the_filter_masks_arguments_and_tracebacks(caplog: pytest.LogCaptureFixture) -> None:
    learn("planted-in-an-exception")
    logger = redacted_logger("tocsin.tests.filter")
    assert redacted_logger("tocsin.tests.filter").filters == logger.filters
    assert any(isinstance(each, RedactingFilter) for each in logger.filters)
    with caplog.at_level(logging.DEBUG):
        try:
            raise RuntimeError("planted-in-an-exception")
        except RuntimeError:
            logger.exception("it said %s", "planted-in-an-exception")
    assert "planted-in-an-exception" not in caplog.text
    assert MASK in caplog.text
    assert redact("planted-in-an-exception") == MASK


def test_the_key_is_not_in_the_database(store: Store, home: Path, planted: list[AnyBlock], clock: ManualClock) -> None:
    Desk(store, clock, Dispatcher(store, clock)).put(*planted)
    key = (home / "secret.key").read_text().strip()
    with store.read() as session:
        rows = [str(tuple(row)) for row in session.connection().execute(text("SELECT * FROM notifier"))]
    assert key not in "".join(rows)


def test_many_secrets_are_looked_for_as_few_are() -> None:
    redactor = Redactor()
    many = [f"planted-{number:04}-secret" for number in range(500)]
    redactor.learn(*many, "planted-0007-secret-and-more")
    assert redactor.redact(f"x{many[7]}y {many[499]} planted-0500-secret") == f"x{MASK}y {MASK} planted-0500-secret"
    assert redactor.redact("planted-0007-secret-and-more") == MASK
    assert redactor.redact("plant") == "plant"


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "a longer user:"])
def test_a_password_inside_base64_is_known(before: str) -> None:
    redactor = Redactor()
    redactor.learn("planted-pass")
    written = base64.b64encode(f"{before}planted-pass".encode()).decode()
    assert MASK in (shown := redactor.redact(f"Authorization: Basic {written}"))
    assert "planted" not in base64.b64decode(shown.rpartition(" ")[2].replace(MASK, "") + "==", altchars="-_").decode(
        "utf-8", "replace"
    )
