"""Who may post to a hook: the senders' own libraries and formulas on one side, every forgery on the other."""

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from slack_sdk.signature import SignatureVerifier
from standardwebhooks import Webhook

from tocsin.events.signatures import Headers, Proven, Stale, Unproven, Verdict
from tocsin.triggers.hook import (
    AnyVerification,
    GitHubSignature,
    PagerDutySignature,
    SharedSecret,
    SlackSignature,
    StandardWebhook,
)
from tocsin.triggers.signatures import verify

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
AT = str(int(NOW.timestamp()))
BODY = '{"event":"paid","text":"für 5 €"}'.encode()
SECRET = "0123456789abcdef0123456789abcdef"
OTHER = SECRET[::-1]
WHSEC = "whsec_" + base64.b64encode(b"k" * 24).decode()
OTHER_WHSEC = "whsec_" + base64.b64encode(b"o" * 24).decode()


def secrets(*texts: str) -> tuple[SecretStr, ...]:
    return tuple(map(SecretStr, texts))


def standard(secret: str = WHSEC, body: bytes = BODY, at: str = AT, number: str = "msg_1") -> dict[str, str]:
    signature = Webhook(secret).sign(number, datetime.fromtimestamp(int(at), UTC), body.decode())
    return {"webhook-id": number, "webhook-timestamp": at, "webhook-signature": signature}


def slack(secret: str = SECRET, body: bytes = BODY, at: str = AT) -> dict[str, str]:
    signature = SignatureVerifier(secret).generate_signature(timestamp=at, body=body)
    return {"x-slack-request-timestamp": at, "x-slack-signature": str(signature)}


def hexed(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def pagerduty(secret: str = SECRET, body: bytes = BODY) -> dict[str, str]:
    return {"x-pagerduty-signature": f"v1={hexed(secret, body)}"}


def github(secret: str = SECRET, body: bytes = BODY) -> dict[str, str]:
    return {"x-hub-signature-256": f"sha256={hexed(secret, body)}"}


def bearer(secret: str = SECRET) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


SIGNED = standard()["webhook-signature"]
STANDARD = StandardWebhook(secret=secrets(WHSEC))
SLACK = SlackSignature(secret=secrets(SECRET))
PAGERDUTY = PagerDutySignature(secret=secrets(SECRET))
GITHUB = GitHubSignature(secret=secrets(SECRET))
SHARED = SharedSecret(secret=secrets(SECRET))
HEADER = SharedSecret(secret=secrets(SECRET), header="X-Token")
EARLY, LATE = (str(int((NOW + timedelta(seconds=away)).timestamp())) for away in (-301, 301))
EDGE = str(int((NOW - timedelta(seconds=300)).timestamp()))


def judge(how: AnyVerification | None, headers: Headers | dict[str, str], body: bytes = BODY) -> Verdict:
    given = tuple(headers.items()) if isinstance(headers, dict) else headers
    return verify(how, given, body, NOW)


GOOD: list[Any] = [
    pytest.param(STANDARD, standard(), id="Standard Webhooks' own library"),
    pytest.param(STANDARD, standard(at=EDGE), id="five minutes old"),
    pytest.param(StandardWebhook(secret=secrets(OTHER_WHSEC, WHSEC)), standard(), id="one of two secrets"),
    pytest.param(STANDARD, standard() | {"webhook-signature": f"v1,b2xk v1a,xx {SIGNED}"}, id="one of several"),
    pytest.param(SLACK, slack(), id="Slack's own library"),
    pytest.param(SLACK, slack(at=EDGE), id="Slack, five minutes old"),
    pytest.param(SlackSignature(secret=secrets(SECRET, OTHER)), slack(OTHER), id="Slack, one of two secrets"),
    pytest.param(PAGERDUTY, pagerduty(), id="PagerDuty"),
    pytest.param(
        PAGERDUTY,
        {"x-pagerduty-signature": f"v1={hexed(OTHER, BODY)}, v1={hexed(SECRET, BODY)}"},
        id="PagerDuty signs with two secrets while they change",
    ),
    pytest.param(GITHUB, github(), id="GitHub"),
    pytest.param(SHARED, bearer(), id="bearer"),
    pytest.param(SHARED, {"authorization": f"bearer  {SECRET}"}, id="bearer in lower case"),
    pytest.param(HEADER, {"x-token": SECRET}, id="a header"),
    pytest.param(None, {}, id="insecure: nothing is asked for"),
]


@pytest.mark.parametrize(("how", "headers"), GOOD)
def test_the_sender_is_believed(how: AnyVerification | None, headers: dict[str, str]) -> None:
    assert judge(how, headers) == Proven()


def test_the_documented_vectors() -> None:
    """Slack's and GitHub's pages on verifying requests; the example of Standard Webhooks' specification."""
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers: Headers = (
        ("x-slack-request-timestamp", "1531420618"),
        ("x-slack-signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
    )
    then = datetime.fromtimestamp(1531420618, UTC)
    assert verify(SlackSignature(secret=secrets("8f742231b10e8888abcd99yyyzzz85a5")), headers, body, then) == Proven()
    signed = (("x-hub-signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"),)
    assert (
        verify(GitHubSignature(secret=secrets("It's a Secret to Everybody")), signed, b"Hello, World!", NOW) == Proven()
    )
    headers = (
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    )
    how = StandardWebhook(secret=secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
    then = datetime.fromtimestamp(1614265330, UTC)
    assert verify(how, headers, b'{"test": 2432232314}', then) == Proven()


STALE: list[Any] = [
    pytest.param(STANDARD, standard(at=EARLY), "301 s ago", id="Standard Webhooks, an old one played again"),
    pytest.param(STANDARD, standard(at=LATE), "ahead", id="Standard Webhooks, from the future"),
    pytest.param(SLACK, slack(at=EARLY), "301 s ago", id="Slack, an old one played again"),
    pytest.param(SLACK, slack(at=LATE), "ahead", id="Slack, from the future"),
]


@pytest.mark.parametrize(("how", "headers", "reason"), STALE)
def test_an_old_post_is_told_so_when_it_was_signed(how: AnyVerification, headers: dict[str, str], reason: str) -> None:
    verdict = judge(how, headers)
    assert isinstance(verdict, Stale)
    assert reason in verdict.reason


def twice(headers: dict[str, str], name: str, value: str) -> Headers:
    return (*headers.items(), (name, value))


BAD: list[Any] = [
    pytest.param(STANDARD, standard(OTHER_WHSEC), BODY, id="standard: wrong secret"),
    pytest.param(STANDARD, standard(OTHER_WHSEC, at=EARLY), BODY, id="standard: wrong secret and old, told as wrong"),
    pytest.param(STANDARD, standard(), BODY[:-1], id="standard: cut off"),
    pytest.param(STANDARD, standard(), b"\xff" + BODY, id="standard: not UTF-8"),
    pytest.param(STANDARD, standard() | {"webhook-id": "msg_2"}, BODY, id="standard: another id"),
    pytest.param(STANDARD, standard() | {"webhook-timestamp": str(int(AT) + 1)}, BODY, id="standard: another time"),
    pytest.param(STANDARD, standard() | {"webhook-timestamp": "nan"}, BODY, id="standard: no time"),
    pytest.param(STANDARD, standard() | {"webhook-timestamp": "9" * 12}, BODY, id="standard: a time beyond all"),
    pytest.param(STANDARD, standard() | {"webhook-timestamp": "٣"}, BODY, id="standard: digits of elsewhere"),
    pytest.param(STANDARD, standard() | {"webhook-signature": "v1"}, BODY, id="standard: no comma"),
    pytest.param(STANDARD, standard() | {"webhook-signature": "v1,"}, BODY, id="standard: empty signature"),
    pytest.param(STANDARD, standard() | {"webhook-signature": "v1,ü"}, BODY, id="standard: not ASCII"),
    pytest.param(STANDARD, standard(number="") | {"webhook-id": ""}, BODY, id="standard: an empty id, signed"),
    pytest.param(STANDARD, {}, BODY, id="standard: nothing"),
    pytest.param(STANDARD, twice(standard(), "webhook-signature", "v1,x"), BODY, id="standard: two signature headers"),
    pytest.param(STANDARD, twice(standard(), "webhook-id", "msg_2"), BODY, id="standard: two ids"),
    pytest.param(SLACK, slack(OTHER), BODY, id="slack: wrong secret"),
    pytest.param(SLACK, slack(), BODY + b" ", id="slack: one byte more"),
    pytest.param(SLACK, slack() | {"x-slack-request-timestamp": str(int(AT) + 1)}, BODY, id="slack: another time"),
    pytest.param(SLACK, slack() | {"x-slack-request-timestamp": "-1"}, BODY, id="slack: no time"),
    pytest.param(SLACK, twice(slack(), "x-slack-request-timestamp", AT), BODY, id="slack: two times"),
    pytest.param(SLACK, {"x-slack-signature": slack()["x-slack-signature"]}, BODY, id="slack: without its time"),
    pytest.param(SLACK, github(), BODY, id="slack: somebody else's signature"),
    pytest.param(PAGERDUTY, pagerduty(OTHER), BODY, id="pagerduty: wrong secret"),
    pytest.param(PAGERDUTY, pagerduty(), b"", id="pagerduty: empty body"),
    pytest.param(PAGERDUTY, {"x-pagerduty-signature": f"v2={hexed(SECRET, BODY)}"}, BODY, id="pagerduty: version 2"),
    pytest.param(PAGERDUTY, {"x-pagerduty-signature": ",,,"}, BODY, id="pagerduty: an empty list"),
    pytest.param(GITHUB, github(OTHER), BODY, id="github: wrong secret"),
    pytest.param(GITHUB, github(), BODY.replace(b"5", b"6"), id="github: one byte changed"),
    pytest.param(GITHUB, {"x-hub-signature-256": hexed(SECRET, BODY)}, BODY, id="github: without sha256="),
    pytest.param(GITHUB, {"x-hub-signature-256": f"sha256={hexed(SECRET, BODY)[:32]}"}, BODY, id="github: half of it"),
    pytest.param(
        GITHUB,
        {"x-hub-signature": "sha1=" + hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()},
        BODY,
        id="github: the old SHA-1 only",
    ),
    pytest.param(SHARED, bearer(OTHER), BODY, id="bearer: wrong secret"),
    pytest.param(SHARED, bearer(SECRET[:-1]), BODY, id="bearer: the beginning of it"),
    pytest.param(SHARED, bearer(""), BODY, id="bearer: empty"),
    pytest.param(SHARED, {"authorization": f"Basic {SECRET}"}, BODY, id="bearer: another scheme"),
    pytest.param(SHARED, {"authorization": SECRET}, BODY, id="bearer: no scheme"),
    pytest.param(SHARED, twice(bearer(), "authorization", f"Bearer {OTHER}"), BODY, id="bearer: two of them"),
    pytest.param(HEADER, bearer(), BODY, id="header: bearer instead"),
    pytest.param(HEADER, {"x-token": OTHER}, BODY, id="header: wrong secret"),
]


@pytest.mark.parametrize(("how", "headers", "body"), BAD)
def test_a_forgery_is_not_believed(how: AnyVerification, headers: Headers | dict[str, str], body: bytes) -> None:
    assert isinstance(judge(how, headers, body), Unproven)


texts = st.text(max_size=40)
NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature", "x-slack-signature", "x-slack-request-timestamp")
names = st.sampled_from((*NAMES, "x-pagerduty-signature", "x-hub-signature-256", "authorization", "x-token"))


@given(
    st.sampled_from([STANDARD, SLACK, PAGERDUTY, GITHUB, SHARED, HEADER]),
    st.lists(st.tuples(names, texts | st.just(AT))),
    st.binary(max_size=40),
)
def test_whatever_headers_come_without_the_secret_none_is_believed(
    how: AnyVerification, headers: list[tuple[str, str]], body: bytes
) -> None:
    assert isinstance(verify(how, tuple(headers), body, NOW), Unproven)
