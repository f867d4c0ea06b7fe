"""Mail: what it looks like, that nothing in an event can change its headers, and what a server's answers mean."""

import json
import os
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from tests.notifiers.conftest import MakeView
from tocsin.notifiers.blocks import Email
from tocsin.notifiers.email import EmailNotifier
from tocsin.notifiers.email_message import compose, render_email
from tocsin.notifiers.outcomes import Delivered, Later, Outcome, Refused, Unknown
from tocsin.notifiers.standins import SmtpFault, SmtpStandIn
from tocsin.notifiers.standins.smtp import check_mail

GOLDEN = Path(__file__).parent / "golden"
SENDER = ("tocsin", "tocsin@orders.example")
TO = ("oncall@orders.example", "lead@orders.example")

VIEWS: dict[str, dict[str, Any]] = {
    "trigger": {},
    "acknowledge": {"action": "acknowledge", "revision": 2, "state": "acknowledged", "acked_by": "Ada"},
    "repeat": {"action": "repeat", "revision": 3, "level": 1, "flapping": True, "muted": 2},
    "resolve": {"action": "resolve", "revision": 4},
    "many": {
        "severity": "critical",
        "items": tuple(f"order {number} has no customer" for number in range(200)),
        "total": 893,
        "labels": {f"label-{number:03}": f"value {number}" for number in range(120)},
    },
    "hostile": {
        "subject": "late\r\nBcc: everybody@evil.example\r\n\r\n<script>alert(1)</script> \u202e",
        "body": "<img src=x onerror=alert(1)>\r\n.\r\nQUIT\r\n</pre><b>&amp;",
        "labels": {'"><script>': "a & b\nX-Evil: 1"},
        "items": ("<a href='javascript:1'>",),
        "acked_by": "Eve\r\nBcc: x@evil.example",
    },
}
FIRST = {"message_id": "<018f0000-0000-7000-8000-0000000000f1@orders.example>", "subject": "[error] daily failed"}


def mail_of(body: dict[str, Any], first: dict[str, str] | None = None) -> tuple[bytes, EmailMessage]:
    raw = compose(body, sender=SENDER, recipients=TO, first=first or {})
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    return raw, message


@pytest.mark.parametrize("minimal", [False, True], ids=["whole", "minimal"])
@pytest.mark.parametrize("view", VIEWS)
def test_a_mail_is_what_its_golden_file_says(view: str, minimal: bool, make_view: MakeView) -> None:
    body = render_email(make_view(**VIEWS[view]), domain="orders.example", minimal=minimal).body
    raw, _ = mail_of(body, FIRST if view in ("acknowledge", "repeat", "resolve") else None)
    text = raw.decode("ascii").replace("\r\n", "\n")
    path = GOLDEN / f"email-{view}{'-minimal' if minimal else ''}.eml"
    if os.environ.get("TOCSIN_TEST_WRITE_GOLDEN"):
        path.write_text(text, encoding="ascii", newline="\n")
    assert text == path.read_text(encoding="ascii")


def test_nothing_in_an_event_becomes_a_header_or_markup(make_view: MakeView) -> None:
    raw, mail = mail_of(render_email(make_view(**VIEWS["hostile"]), domain="orders.example", minimal=False).body)
    assert mail["Bcc"] is None
    assert mail["X-Evil"] is None
    assert [mail["To"], mail["From"]] == [", ".join(TO), "tocsin <tocsin@orders.example>"]
    page = mail.get_body(("html",))
    assert page is not None
    for tag in ("<script", "<img", "<b>", "<a ", "javascript:1'>"):
        assert tag not in page.get_content()
    assert check_mail(raw, mail) == []


wild = st.text(max_size=80) | st.text(st.sampled_from("\r\n.:<>&\"'=?\x00\ud800\u2028\U0001f525é \t"), max_size=200)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    fields=st.fixed_dictionaries(
        {
            "action": st.sampled_from(["trigger", "update", "acknowledge", "repeat", "resolve", "test"]),
            "subject": wild | wild.map(lambda text: text * 1_500),
            "body": wild | wild.map(lambda text: text * 1_500),
            "labels": st.dictionaries(wild, wild, max_size=4),
            "items": st.lists(wild, max_size=4).map(tuple),
            "acked_by": wild,
        }
    ),
    minimal=st.booleans(),
    thread=st.booleans(),
)
def test_no_view_makes_a_mail_that_a_server_would_stumble_over(
    fields: dict[str, Any], minimal: bool, thread: bool, make_view: MakeView
) -> None:
    body = render_email(make_view(**fields), domain="orders.example", minimal=minimal).body
    json.dumps(body)
    raw, mail = mail_of(body, FIRST if thread else None)
    assert check_mail(raw, mail) == []
    assert len(raw) < 1_500_000
    known = {"From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted"}
    assert {name for name in mail if not name.startswith(("X-", "Content-", "MIME-"))} == known


def test_a_retry_is_the_same_mail_byte_for_byte(make_view: MakeView) -> None:
    def made() -> bytes:
        return mail_of(render_email(make_view(), domain="orders.example", minimal=False).body)[0]

    assert made() == made()


def open_email(server: SmtpStandIn, **more: Any) -> EmailNotifier:
    fields: dict[str, Any] = {"name": "mail", "sender": SENDER[1], "recipients": TO, "tls": server.tls}
    trust = {"ca_file": server.ca_file} if server.tls != "none" else {}
    return EmailNotifier(Email(host=server.host, port=server.port, **{**fields, **trust, **more}))


@pytest.fixture
def server() -> Iterator[SmtpStandIn]:
    with SmtpStandIn() as stand_in:
        yield stand_in


async def tell(channel: EmailNotifier, make_view: MakeView, handle: Any = None, **fields: Any) -> Outcome:
    return await channel.send(channel.render(make_view(**fields)), handle)


async def test_an_incident_is_one_thread(server: SmtpStandIn, make_view: MakeView) -> None:
    channel = open_email(server)
    first = await tell(channel, make_view)
    assert isinstance(first, Delivered)
    again = await tell(
        channel, make_view, first.handle, action="resolve", delivery=UUID(int=2), subject="it failed otherwise"
    )
    assert again == first
    opened, closed = server.mails
    assert opened.id == "<018f0000-0000-7000-8000-000000000001@orders.example>"
    assert closed.message["In-Reply-To"] == opened.id
    assert closed.message["References"].split() == [*opened.message["References"].split(), opened.id]
    assert closed.subject == f"Re: {opened.subject}" == "Re: [error] daily-order-etl failed"
    assert closed.part("plain").startswith("Resolved: [error] it failed otherwise")
    assert opened.recipients == TO
    assert not server.violations


async def test_a_retry_after_a_lost_answer_is_recognised(server: SmtpStandIn, make_view: MakeView) -> None:
    server.fail(SmtpFault("content", accept=True))
    channel = open_email(server)
    assert isinstance(await tell(channel, make_view), Unknown)
    assert isinstance(await tell(channel, make_view), Delivered)
    assert len(server.mails) == 1
    assert server.repeats == [server.mails[0].id]


ANSWERS = [
    pytest.param(SmtpFault("connect", 421), Later(None, "421"), id="too busy to talk: later"),
    pytest.param(SmtpFault("connect", 554), Refused("554"), id="never talks to us: the end"),
    pytest.param(SmtpFault("connect"), Later(None, ""), id="torn before the greeting: nothing was said"),
    pytest.param(SmtpFault("ehlo"), Later(None, ""), id="torn at the greeting: nothing was said"),
    pytest.param(SmtpFault("mail", 451), Later(None, "451"), id="sender for now not: later"),
    pytest.param(SmtpFault("mail", 550), Refused("550"), id="sender never: the end"),
    pytest.param(SmtpFault("mail"), Later(None, ""), id="torn before the content: surely not there"),
    pytest.param(SmtpFault("data", 452), Later(None, "452"), id="no room: later"),
    pytest.param(SmtpFault("data", 554), Refused("554", True), id="no data: a plainer one may pass"),
    pytest.param(SmtpFault("content", 451), Later(None, "451"), id="content for now not: later"),
    pytest.param(SmtpFault("content", 552), Refused("552", True), id="too large: a plainer one may pass"),
    pytest.param(SmtpFault("content"), Unknown(""), id="torn after the content: nobody knows"),
]


@pytest.mark.parametrize(("fault", "expected"), ANSWERS)
async def test_a_server_says_what_became_of_a_mail(
    server: SmtpStandIn, make_view: MakeView, fault: SmtpFault, expected: Outcome
) -> None:
    server.fail(fault)
    outcome = await tell(open_email(server), make_view)
    assert type(outcome) is type(expected), outcome
    assert not isinstance(outcome, Delivered)
    assert not isinstance(expected, Delivered)
    assert expected.reason in outcome.reason
    assert getattr(outcome, "resend_minimal", False) == getattr(expected, "resend_minimal", False)
    assert server.connections == 1


RECIPIENTS = [
    pytest.param([550], Delivered, id="one of two is told"),
    pytest.param([450], Delivered, id="one of two for now not: the other is told"),
    pytest.param([550, 550], Refused, id="nobody is taken"),
    pytest.param([550, 450], Later, id="nobody is taken now, one perhaps later"),
]


@pytest.mark.parametrize(("codes", "expected"), RECIPIENTS)
async def test_a_mail_is_delivered_when_somebody_gets_it(
    server: SmtpStandIn, make_view: MakeView, codes: list[int], expected: type[Outcome]
) -> None:
    server.fail(*(SmtpFault("rcpt", code) for code in codes))
    assert isinstance(await tell(open_email(server), make_view), expected)
    assert [mail.recipients for mail in server.mails] == ([(TO[1],)] if expected is Delivered else [])


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_mail_goes_through_tls_with_a_password(tls: Any, make_view: MakeView) -> None:
    with SmtpStandIn(tls, password="0pen-sesame") as server:
        known = open_email(server, user=SecretStr("tocsin"), password=SecretStr("0pen-sesame"))
        assert isinstance(await tell(known, make_view), Delivered)
        wrong = open_email(server, user=SecretStr("tocsin"), password=SecretStr("wrong"))
        assert isinstance(outcome := await tell(wrong, make_view), Refused)
        assert outcome.status == 535
        untrusting = open_email(server, ca_file=None)
        assert isinstance(outcome := await tell(untrusting, make_view), Later)
        assert "CERTIFICATE_VERIFY_FAILED" in outcome.reason
        assert len(server.mails) == 1


async def test_a_server_without_tls_gets_nothing_in_the_clear(server: SmtpStandIn, make_view: MakeView) -> None:
    outcome = await tell(open_email(server, tls="starttls"), make_view)
    assert isinstance(outcome, Later)
    assert "STARTTLS" in outcome.reason
    assert server.mails == []


async def test_nobody_there_is_later(make_view: MakeView) -> None:
    with SmtpStandIn() as gone:
        channel = open_email(gone)
    assert isinstance(await tell(channel, make_view), Later)


async def test_a_plainer_mail_is_taken_too(server: SmtpStandIn, make_view: MakeView) -> None:
    channel = open_email(server)
    assert isinstance(await channel.send(channel.render(make_view(), minimal=True), None), Delivered)
    assert server.mails[0].part("html") == ""
    assert server.mails[0].part("plain") == "[error] daily-order-etl failed\n"


BAD: list[Any] = [
    pytest.param({"recipients": ()}, "at least 1", id="nobody"),
    pytest.param({"recipients": ("a@b.example, c@d.example",)}, "plain address", id="two in one"),
    pytest.param({"recipients": ("a@b.example\r\nBcc: x@y.example",)}, "plain address", id="a header in an address"),
    pytest.param({"sender": "Tocsin <a@b.example>"}, "plain address", id="a name in the address"),
    pytest.param({"user": "u"}, "user and password", id="a user without a password"),
    pytest.param({"tls": "none", "user": "u", "password": "s3cret"}, "without TLS", id="a password in the clear"),
    pytest.param({"host": "mail.example/x"}, "host", id="no host"),
]


@pytest.mark.parametrize(("fields", "says"), BAD)
def test_a_block_that_cannot_work_says_why(fields: dict[str, Any], says: str) -> None:
    whole = {"name": "m", "host": "mail.example", "sender": "a@b.example", "recipients": ("c@d.example",)}
    with pytest.raises(ValidationError, match=says) as caught:
        Email.model_validate({**whole, **fields})
    assert "s3cret" not in str(caught.value)


def test_the_stand_in_lists_what_servers_stumble_over() -> None:
    def complaints(raw: bytes) -> list[str]:
        message = message_from_bytes(raw, policy=default)
        assert isinstance(message, EmailMessage)
        return check_mail(raw, message)

    date = b"Date: Mon, 02 Mar 2026 09:00:00 +0000\r\n"
    whole = b"From: a@b.c\r\nTo: a@b.c\r\nSubject: s\r\n" + date + b"Message-ID: <1@b>\r\n\r\n"
    assert complaints(whole) == []
    assert complaints(whole + b"x" * 1_200) == ["a line of 1,200 bytes"]
    assert complaints(whole + b"a\nb") == ["a bare line feed"]
    assert complaints(whole.replace(b"Message-ID", b"X-Id")) == ["no header Message-ID"]
    assert complaints(whole + "ü".encode()) == ["not ASCII"]
