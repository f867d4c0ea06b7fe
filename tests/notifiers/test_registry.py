"""Notifier blocks on record: by name, sealed, and never shown."""

import pytest
from pydantic import SecretStr, ValidationError

from tocsin.events.errors import Invalid, NotFound
from tocsin.notifiers import PagerDuty, Slack, SlackWebhook, Webhook
from tocsin.notifiers.blocks import AnyBlock
from tocsin.notifiers.registry import get_notifier, list_notifiers, put_notifier, remove_notifier
from tocsin.notifiers.tables import NotifierRow
from tocsin.store.engine import Store

TOKEN = "xoxb-17653672481-19874698323-pdFZKVeTuE8sk7oOcHrzqqgy"
KEY = "0123456789abcdef0123456789abcdef"
PATH = "services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX"
SIGNING = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

BLOCKS: list[AnyBlock] = [
    Slack(name="slack", token=SecretStr(TOKEN), channel="C0123456789"),
    SlackWebhook(name="hook", url=SecretStr(f"https://hooks.slack.com/{PATH}")),
    PagerDuty(name="pagerduty", routing_key=SecretStr(KEY), source="orders", client_url="https://tocsin.example"),
    Webhook(
        name="webhook",
        url=SecretStr("https://user:pa55w0rd@hooks.example/in?token=0123456789abcdef01"),
        secret=SecretStr(SIGNING),
        allow_private=("10.0.0.0/8", "hooks.internal:8080"),
    ),
]
SECRETS = (TOKEN, KEY, PATH, SIGNING, "pa55w0rd", "0123456789abcdef01")


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.kind)
def test_a_block_comes_back_as_it_was_put(store: Store, block: AnyBlock) -> None:
    with store.begin() as session:
        put_notifier(session, block)
    with store.read() as session:
        assert get_notifier(session, block.name) == block


def test_a_name_is_put_over(store: Store) -> None:
    with store.begin() as session:
        put_notifier(session, Slack(name="n", token=SecretStr(TOKEN), channel="C1"))
    with store.begin() as session:
        put_notifier(session, PagerDuty(name="n", routing_key=SecretStr(KEY)))
    with store.read() as session:
        assert [listed.kind for listed in list_notifiers(session)] == ["pagerduty"]


def test_no_secret_is_in_the_rows_or_the_list(store: Store) -> None:
    with store.begin() as session:
        for block in BLOCKS:
            put_notifier(session, block)
    with store.read() as session:
        listed = list_notifiers(session)
        shown = "".join(f"{each}" for each in listed)
        for name in ("hook", "pagerduty", "slack", "webhook"):
            row = session.get(NotifierRow, name)
            assert row is not None
            shown += f"{row.config} {row.secrets}"
    shown += "".join(f"{block!r} {block.model_dump_json()}" for block in BLOCKS)
    assert [secret for secret in SECRETS if secret in shown] == []
    assert [each.name for each in listed] == ["hook", "pagerduty", "slack", "webhook"]
    assert listed[0].config == {"storm": 20, "url": "https://hooks.slack.com/(redacted)"}


def test_an_unknown_name_is_told_the_known_ones(store: Store) -> None:
    with store.begin() as session:
        for block in BLOCKS[:1]:
            put_notifier(session, block)
    with store.begin() as session, pytest.raises(NotFound, match='unknown notifier "slak"; known: slack'):
        get_notifier(session, "slak")
    with store.begin() as session, pytest.raises(NotFound):
        remove_notifier(session, "slak")
    with store.begin() as session:
        remove_notifier(session, "slack")
    with store.read() as session, pytest.raises(NotFound, match="known: none"):
        get_notifier(session, "slack")


def test_another_key_is_a_clear_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.begin() as session:
        put_notifier(session, BLOCKS[0])
    monkeypatch.setenv("TOCSIN_SECRET_KEY", "A" * 43 + "=")
    with store.read() as session, pytest.raises(Invalid, match="TOCSIN_SECRET_KEY"):
        get_notifier(session, "slack")


@pytest.mark.parametrize(
    ("kind", "fields", "says"),
    [
        pytest.param(Slack, {"token": " ", "channel": "C1"}, "begins with xoxb-", id="no token"),
        pytest.param(Slack, {"token": "x", "channel": "C1", "api_url": "http://a.example/"}, "https", id="plain http"),
        pytest.param(SlackWebhook, {"url": "hooks.slack.com/x"}, "https URL", id="no scheme"),
        pytest.param(PagerDuty, {"routing_key": "short-s3cret"}, "32 characters, this has 12", id="short key"),
        pytest.param(Webhook, {"url": "ftp://x", "secret": SIGNING}, "http or https", id="ftp"),
        pytest.param(Webhook, {"url": "https://x", "secret": "whsec_AAAA"}, "24 to 64 bytes", id="short secret"),
        pytest.param(Webhook, {"url": "https://x", "secret": "whsec_s3cret!"}, "whsec_ and base64", id="no base64"),
        pytest.param(
            Webhook, {"url": "https://x", "secret": SIGNING, "allow_private": ["a b"]}, "allow-list", id="bad list"
        ),
        pytest.param(Slack, {"token": "x", "channel": "C1", "colour": "red"}, "colour", id="unknown field"),
        pytest.param(Slack, {"token": "x", "channel": "C1", "name": "a\nb"}, "name", id="name with a line break"),
    ],
)
def test_a_block_that_cannot_work_says_why_and_shows_no_secret(
    kind: type[AnyBlock], fields: dict[str, object], says: str
) -> None:
    with pytest.raises(ValidationError, match=says) as caught:
        kind.model_validate({"name": "n", **fields})
    assert "s3cret" not in str(caught.value)
