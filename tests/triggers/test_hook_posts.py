"""What a post to a hook means: events, greetings, repeats; and how much may come."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.ids import derive
from tocsin.triggers.allowance import Allowance, take
from tocsin.triggers.hook import MASK, Hook, hook_from, join, masked, split
from tocsin.triggers.hook_posts import Greeting, Meant, Post, Unwanted, format_of, read

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SECRET = "0123456789abcdef0123456789abcdef"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MAPPING = {"event": "'orders.paid'", "resource": "body.order"}
JSON = ("content-type", "application/json")
FORM = ("content-type", "application/x-www-form-urlencoded")


def hook(kind: str | None = None, **more: Any) -> Hook:
    way: dict[str, Any] = {"insecure": True}
    if kind:
        way = {"verify": {"kind": kind, "secret": WHSEC if kind == "standard-webhooks" else SECRET}}
    return hook_from({"name": "shop", "mapping": MAPPING, **way, **more})


def post(body: Any = None, *headers: tuple[str, str], **query: str) -> Post:
    sent = body if isinstance(body, bytes) else json.dumps({"order": "A-7"} if body is None else body).encode()
    return Post(headers if FORM in headers else (JSON, *headers), query, sent)


def meant(of: Hook, what: Post, now: datetime = NOW) -> Meant:
    found = read(of, what, now)
    assert isinstance(found, Meant)
    return found


# --- definitions ---

REFUSED: list[Any] = [
    pytest.param({"name": "tocsin.x"}, "tocsin", id="a name of ours"),
    pytest.param({"name": "../events"}, "name", id="a path"),
    pytest.param({"name": "a/b"}, "name", id="a slash"),
    pytest.param({"name": "Shop"}, "name", id="capitals"),
    pytest.param({"name": ""}, "name", id="no name"),
    pytest.param({"name": "a\n"}, "name", id="a line end"),
    pytest.param({"name": "x" * 100}, "name", id="a name too long"),
    pytest.param({"insecure": False}, "insecure: true", id="neither verified nor insecure"),
    pytest.param({"verify": {"kind": "github", "secret": SECRET}}, "not both", id="verified and insecure"),
    pytest.param({"verify": {"kind": "md5", "secret": SECRET}}, "github", id="a kind nobody knows"),
    pytest.param({"verify": {"kind": "github", "secret": "short"}}, "16 characters", id="a short secret"),
    pytest.param({"verify": {"kind": "github", "secret": []}}, "secret", id="no secret"),
    pytest.param({"verify": {"kind": "github", "secret": f" {SECRET}"}}, "white space", id="white space around it"),
    pytest.param({"verify": {"kind": "standard-webhooks", "secret": "whsec_???"}}, "base64", id="no base64"),
    pytest.param({"verify": {"kind": "standard-webhooks", "secret": "whsec_YQ=="}}, "24 to 64", id="too few bytes"),
    pytest.param({"mapping": {**MAPPING, "event": "body.["}}, "mapping.event", id="a bad expression"),
    pytest.param({"mapping": {**MAPPING, "event": "{{ body."}}, "mapping.event", id="a bad template"),
    pytest.param({"per_minute": 0}, "per_minute", id="none a minute"),
    pytest.param({"max_bytes": 10**9}, "max_bytes", id="a limit beyond all"),
    pytest.param({"same_body_s": 86_401}, "same_body_s", id="remembered beyond a day"),
    pytest.param({"patience": 3}, "patience", id="an unknown field"),
]


@pytest.mark.parametrize(("change", "said"), REFUSED)
def test_a_definition_that_cannot_be_meant_is_refused(change: dict[str, Any], said: str) -> None:
    way = {} if "verify" in change and said != "not both" else {"insecure": True}
    with pytest.raises(Invalid) as refusal:
        hook_from({"name": "shop", "mapping": MAPPING, **way, **change})
    assert said in str(refusal.value)
    assert SECRET not in str(refusal.value)


def test_a_secret_is_masked_wherever_a_hook_is_shown() -> None:
    made = hook("github")
    shown, secrets = split(made)
    assert secrets == (SECRET,)
    assert shown["verify"]["secret"] == [MASK]
    for text in (repr(made), str(made), made.model_dump_json(), json.dumps(shown)):
        assert SECRET not in text
    assert join(shown, secrets) == made
    assert masked(hook_from(shown))
    assert not masked(made)
    with pytest.raises(Invalid, match="every secret"):
        masked(hook_from({**shown, "verify": {"kind": "github", "secret": [MASK, SECRET]}}))
    with pytest.raises(ValidationError) as refusal:
        Hook.model_validate({**shown, "verify": {"kind": "github", "secret": SECRET, "extra": 1}})
    assert SECRET not in str(refusal.value)


# --- how a body is read ---


@pytest.mark.parametrize(
    ("kinds", "found"),
    [
        (["application/json"], "json"),
        (["Application/JSON; charset=utf-8"], "json"),
        (["application/vnd.api+json"], "json"),
        (["application/x-www-form-urlencoded"], "form"),
        ([], None),
        (["text/plain"], None),
        (["text/html+json"], None),
        (["multipart/form-data; boundary=x"], None),
        (["application/json", "text/plain"], None),
    ],
)
def test_a_content_type_says_how_the_body_is_written(kinds: list[str], found: str | None) -> None:
    assert format_of([("content-type", kind) for kind in kinds]) == found


BODIES: list[Any] = [
    pytest.param(post({"order": "A-7"}), "A-7", id="JSON"),
    pytest.param(post(b"order=A-7&n=1", FORM), "A-7", id="a form"),
    pytest.param(post(b"payload=%7B%22order%22%3A%22A-7%22%7D", FORM), "A-7", id="JSON in a form's payload"),
]


@pytest.mark.parametrize(("what", "resource"), BODIES)
def test_a_body_is_mapped(what: Post, resource: str) -> None:
    assert meant(hook(), what).event.resource_id == resource


UNREADABLE: list[Any] = [
    pytest.param(post(b""), "not JSON", id="an empty body"),
    pytest.param(post(b'{"order": "A'), "not JSON", id="cut off"),
    pytest.param(post(b'{"order": NaN}'), "NaN", id="NaN"),
    pytest.param(post(b'{"order": "a", "order": "b"}'), "twice", id="a key twice"),
    pytest.param(post(b"\xff"), "UTF-8", id="not UTF-8"),
    pytest.param(post(b"[" * 5000), "nested", id="very deep"),
    pytest.param(post(b'{"order": "a\\u0000b"}'), "NUL", id="NUL in a text"),
    pytest.param(post(b"order=a&order=b", FORM), "twice", id="a form's field twice"),
    pytest.param(post(b"order", FORM), "form", id="a form without an equals sign"),
    pytest.param(post(b"&".join(b"a%d=1" % n for n in range(1001)), FORM), "form", id="a form with too many fields"),
    pytest.param(post(b"payload=no", FORM), "not JSON", id="a payload that is no JSON"),
    pytest.param(post({"other": 1}), "resource", id="what the mapping needs is not there"),
    pytest.param(post([1]), "resource", id="a list"),
]


@pytest.mark.parametrize(("what", "said"), UNREADABLE)
def test_what_cannot_be_read_or_mapped_is_told_by_its_field(what: Post, said: str) -> None:
    with pytest.raises(BadEvent, match=said):
        read(hook(), what, NOW)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
somebody = st.fixed_dictionaries({"order": json_values | st.text(min_size=1)}, optional={"event": json_values})
bodies = st.binary(max_size=40) | (json_values | somebody).map(lambda value: json.dumps(value).encode())
HOOKS = [hook(kind) for kind in (None, "slack", "pagerduty", "github", "shared-secret", "standard-webhooks")]
HOOKS.append(hook(mapping={"event": "a.{{ body.order.x }}", "resource": "{{ body.order | join }}", "where": "body"}))


@given(st.sampled_from(HOOKS), bodies, st.sampled_from([JSON, FORM]))
def test_whatever_is_posted_is_an_event_a_greeting_nothing_or_told_as_bad(
    of: Hook, body: bytes, kind: tuple[str, str]
) -> None:
    with suppress(BadEvent):
        found = read(of, Post((kind, ("webhook-id", "1"), ("x-slack-request-timestamp", "1")), {}, body), NOW)
        assert isinstance(found, Greeting | Unwanted | Meant)


def test_a_name_of_ours_cannot_be_posted() -> None:
    forging = hook(mapping={"event": "body.event", "resource": "body.order"})
    with pytest.raises(BadEvent, match="kept for tocsin itself"):
        read(forging, post({"order": "A-7", "event": "tocsin.flow-run.Failed"}), NOW)


def test_only_what_where_is_true_of_becomes_an_event() -> None:
    picky = hook(mapping={**MAPPING, "where": "body.order == 'A-7'"})
    assert isinstance(read(picky, post({"order": "A-8"}), NOW), Unwanted)
    assert meant(picky, post()).event.event == "orders.paid"


def test_a_mapping_reads_headers_and_address_but_nothing_that_proves_the_sender() -> None:
    made = hook_from(
        {
            "name": "shop",
            "verify": {"kind": "shared-secret", "secret": SECRET, "header": "X-Token"},
            "mapping": {**MAPPING, "event": "shop.{{ query.kind }}", "payload": "{headers: headers, name: name}"},
        }
    )
    sent = post(None, ("x-token", SECRET), ("authorization", "Bearer x"), ("cookie", "c"), ("x-a", "1"), kind="paid")
    event = meant(made, sent).event
    assert event.event == "shop.paid"
    assert event.payload == {"headers": {"content-type": "application/json", "x-a": "1"}, "name": "shop"}
    signed = post(None, ("x-hub-signature-256", "sha256=1"), ("x-slack-signature", "v0=1"), ("webhook-signature", "v"))
    shown = meant(hook(mapping={**MAPPING, "payload": "headers"}), signed).event
    assert shown.payload == {"content-type": "application/json"}


# --- greetings ---

GREETINGS: list[Any] = [
    pytest.param("slack", post({"type": "url_verification", "challenge": "3eZb"}), {"challenge": "3eZb"}, id="Slack"),
    pytest.param("github", post({"zen": "Keep it."}, ("x-github-event", "ping")), {"pong": True}, id="GitHub"),
    pytest.param("pagerduty", post({"event": {"event_type": "pagey.ping"}}), {"pong": True}, id="PagerDuty"),
]


@pytest.mark.parametrize(("kind", "what", "answer"), GREETINGS)
def test_a_greeting_is_answered_and_is_no_event(kind: str, what: Post, answer: dict[str, Any]) -> None:
    times = (("x-slack-request-timestamp", "1"),)
    assert read(hook(kind), Post((*what.headers, *times), what.query, what.body), NOW) == Greeting(answer)


@pytest.mark.parametrize(("kind", "what", "answer"), GREETINGS)
def test_a_greeting_of_somebody_else_is_none(kind: str, what: Post, answer: dict[str, Any]) -> None:
    with pytest.raises(BadEvent):
        read(hook("shared-secret"), what, NOW)


# --- repeats ---

AT = ("x-slack-request-timestamp", "1531420618")
LATER = ("x-slack-request-timestamp", "1531420700")
SAME: list[Any] = [
    pytest.param(
        hook("standard-webhooks"),
        post(None, ("webhook-id", "m1")),
        post({"order": "x"}, ("webhook-id", "m1")),
        True,
        id="standard: the id decides, not the body",
    ),
    pytest.param(
        hook("standard-webhooks"),
        post(None, ("webhook-id", "m1")),
        post(None, ("webhook-id", "m2")),
        False,
        id="standard: another id",
    ),
    pytest.param(
        hook("slack"),
        post({"event_id": "Ev1", "order": "a"}, AT),
        post({"event_id": "Ev1", "order": "a"}, LATER),
        True,
        id="slack: the event's id, retried with a new signature",
    ),
    pytest.param(hook("slack"), post(None, AT), post(None, AT), True, id="slack: no id, played again"),
    pytest.param(hook("slack"), post(None, AT), post(None, LATER), False, id="slack: no id, at another time"),
    pytest.param(
        hook("pagerduty"),
        post({"order": "a", "event": {"id": "1"}}),
        post({"order": "b", "event": {"id": "1"}}),
        True,
        id="pagerduty: the event's id",
    ),
    pytest.param(
        hook("github"),
        post(None, ("x-github-delivery", "1")),
        post(None, ("x-github-delivery", "2")),
        True,
        id="github: played again under another delivery, which nobody signed",
    ),
    pytest.param(hook("github"), post(), post({"order": "A-8"}), False, id="github: another body"),
    pytest.param(
        hook("shared-secret"),
        post(None, ("idempotency-key", "k")),
        post(None, ("idempotency-key", "k")),
        True,
        id="shared: an idempotency key",
    ),
    pytest.param(hook("shared-secret"), post(), post(), False, id="shared: no id, each is one of its own"),
    pytest.param(hook(same_body_s=60), post(), post(), True, id="the same body in time"),
    pytest.param(hook(same_body_s=60), post(), post({"order": "b"}), False, id="another body in time"),
    pytest.param(
        hook(mapping={**MAPPING, "id": "body.order"}),
        post(),
        post(None, ("idempotency-key", "z")),
        True,
        id="the mapping gives the id",
    ),
]


@pytest.mark.parametrize(("of", "first", "second", "same"), SAME)
def test_a_repeat_has_the_same_id(of: Hook, first: Post, second: Post, same: bool) -> None:
    assert (meant(of, first).event.id == meant(of, second).event.id) is same


def test_ids_of_two_hooks_do_not_meet() -> None:
    sent = post(None, ("idempotency-key", "k"))
    assert meant(hook(name="a"), sent).event.id != meant(hook(name="b"), sent).event.id


@given(st.integers(0, 10**6), st.integers(0, 200))
def test_the_same_body_is_found_under_one_of_two_ids_while_it_is_remembered(offset: int, gap: int) -> None:
    of, begin = hook(same_body_s=60), NOW + timedelta(seconds=offset)
    first, second = meant(of, post(), begin), meant(of, post(), begin + timedelta(seconds=gap))
    near = {second.event.id, second.earlier}
    assert first.event.id in near if gap < 60 else (gap < 120 or first.event.id not in near)


def test_a_uuid_that_the_mapping_gives_is_the_id() -> None:
    number = UUID("0197c1f2-8a34-7cc1-9f6e-4f3f7c1d2a10")
    of = hook(mapping={**MAPPING, "id": "body.id"}, same_body_s=60)
    found = meant(of, post({"order": "a", "id": str(number)}))
    assert (found.event.id, found.earlier) == (number, None)
    assert meant(of, post({"order": "a", "id": "n"})).event.id == derive("external", "hook:shop", "n")


# --- how much may come ---


def test_a_minutes_worth_comes_at_once_and_then_one_by_one() -> None:
    left: Allowance | None = None
    for _ in range(3):
        left, wait = take(left, NOW, 3)
        assert wait == 0
    left, wait = take(left, NOW, 3)
    assert wait == pytest.approx(20)
    assert take(left, NOW + timedelta(seconds=19), 3)[1] == pytest.approx(1)
    assert take(left, NOW + timedelta(seconds=20.001), 3)[1] == 0


def test_a_clock_that_is_set_back_gives_nothing() -> None:
    left, _ = take(None, NOW, 1)
    assert take(left, NOW - timedelta(hours=1), 1)[1] == pytest.approx(60)


@given(st.lists(st.floats(0, 100), max_size=60), st.integers(1, 20))
def test_no_minute_has_more_than_two_minutes_worth(gaps: list[float], per_minute: int) -> None:
    now, left, taken = NOW, None, list[datetime]()
    for gap in gaps:
        now += timedelta(seconds=gap)
        left, wait = take(left, now, per_minute)
        if not wait:
            taken.append(now)
    for begin in taken:
        assert sum(begin <= at < begin + timedelta(minutes=1) for at in taken) <= 2 * per_minute
