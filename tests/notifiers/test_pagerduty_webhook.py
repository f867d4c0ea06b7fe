"""What people do in PagerDuty: which posts are acts, whose, and which say nothing any more."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.errors import BadEvent
from tocsin.events.signatures import Proven, Unproven, pagerduty
from tocsin.notifiers.act import Acknowledge, Act, Resolve, Unacknowledge
from tocsin.notifiers.pagerduty_webhook import Other, Ping, Word, read, stale
from tocsin.notifiers.standins.pagerduty_webhooks import INTEGRATION, PERSON, incident_event, ping, signatures

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
KEY = "tocsin/018f000000007000800000000000aa00"


def posted(event_type: str, status: str = "triggered", agent: str = PERSON, by: str = "Ada Lovelace") -> bytes:
    document = incident_event(event_type, number=1, key=KEY, title="t", status=status, by=by, agent=agent, at=NOW)
    return json.dumps(document).encode()


ACTS = [
    pytest.param("incident.acknowledged", "acknowledged", Acknowledge("Ada Lovelace", "pager"), id="acknowledged"),
    pytest.param("incident.unacknowledged", "triggered", Unacknowledge("Ada Lovelace", "pager"), id="given back"),
    pytest.param("incident.resolved", "resolved", Resolve("Ada Lovelace", "pager"), id="closed"),
    pytest.param("incident.delegated", "triggered", Unacknowledge("Ada Lovelace", "pager"), id="delegated: pages anew"),
    pytest.param("incident.reassigned", "triggered", Unacknowledge("Ada Lovelace", "pager"), id="reassigned"),
    pytest.param("incident.escalated", "acknowledged", None, id="escalated while somebody has it"),
    pytest.param("incident.triggered", "triggered", None, id="triggered: that was us"),
    pytest.param("incident.priority_updated", "triggered", None, id="a priority is none of ours"),
]


@pytest.mark.parametrize(("event_type", "status", "act"), ACTS)
def test_what_a_person_does_is_an_act(event_type: str, status: str, act: Act | None) -> None:
    word = read(posted(event_type, status), "pager")
    assert isinstance(word, Word)
    assert (word.key, word.occurred, word.act) == (KEY, NOW, act)
    assert bool(word.reason) == (act is None)


def test_our_own_words_come_back_as_nobodys_act() -> None:
    for event_type in ("incident.acknowledged", "incident.resolved"):
        word = read(posted(event_type, agent=INTEGRATION), "pager")
        assert isinstance(word, Word)
        assert (word.act, word.reason) == (None, "it came through the Events API")


def test_a_name_is_made_fit_for_people() -> None:
    word = read(posted("incident.acknowledged", by="Eve\r\n\u202eX" + "y" * 500), "pager")
    assert isinstance(word, Word)
    assert isinstance(word.act, Acknowledge)
    assert word.act.by.startswith("Eve Xyy")
    assert len(word.act.by) == 200
    nobody = json.loads(posted("incident.acknowledged"))
    nobody["event"]["agent"] = None
    word = read(json.dumps(nobody).encode(), "pager")
    assert isinstance(word, Word)
    assert word.act == Acknowledge("PagerDuty", "pager")


def test_a_ping_is_answered_and_what_is_not_ours_is_left() -> None:
    assert read(json.dumps(ping(NOW)).encode(), "pager") == Ping()
    other: dict[str, Any] = ping(NOW)
    other["event"] |= {"event_type": "service.updated", "data": {"type": "service"}}
    assert read(json.dumps(other).encode(), "pager") == Other("service.updated")
    other["event"] |= {"event_type": "incident.annotated", "data": {"incident": {"id": "P1"}, "content": "n"}}
    assert read(json.dumps(other).encode(), "pager") == Other("incident.annotated")


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{}", b'{"event": {}}', b'{"event": {"id": 1}}', b"\xff", posted("x").replace(b"2026", b"year")],
)
def test_what_is_no_post_of_pagerduty_is_told(body: bytes) -> None:
    with pytest.raises(BadEvent, match="v3 webhook"):
        read(body, "pager")


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_body_breaks_the_reading(body: bytes) -> None:
    try:
        read(body, "pager")
    except BadEvent:
        return


AGES = [
    pytest.param(timedelta(0), None, None, id="the first word"),
    pytest.param(timedelta(days=4), None, "4 days ago", id="too old"),
    pytest.param(timedelta(0), ("same", timedelta(0)), "told before", id="told twice"),
    pytest.param(timedelta(seconds=5), ("other", timedelta(0)), "something newer", id="overtaken"),
    pytest.param(timedelta(0), ("other", timedelta(seconds=5)), None, id="newer than what was heard"),
    pytest.param(timedelta(0), ("other", timedelta(0)), None, id="at the same instant"),
]


@pytest.mark.parametrize(("age", "heard", "says"), AGES)
def test_an_old_word_says_nothing(age: timedelta, heard: tuple[str, timedelta] | None, says: str | None) -> None:
    word = Word("same", "incident.acknowledged", KEY, NOW - age, Acknowledge("Ada"))
    found = stale(word, NOW, (heard[0], NOW - heard[1]) if heard else None)
    assert found is None if says is None else says in str(found)


SIGNED = [
    pytest.param("x" * 20, ["x" * 20], Proven, id="the secret"),
    pytest.param("x" * 20, ["y" * 20, "x" * 20], Proven, id="one of several that are tried"),
    pytest.param("x" * 20, ["y" * 20], Unproven, id="another secret"),
]


@pytest.mark.parametrize(("signed_with", "secrets", "expected"), SIGNED)
def test_a_post_is_proven_by_any_signature_and_any_secret(
    signed_with: str, secrets: list[str], expected: type[object]
) -> None:
    body = posted("incident.acknowledged")
    headers = [("x-pagerduty-signature", signatures(body, "z" * 20, signed_with))]
    assert isinstance(pagerduty(headers, body, secrets), expected)
    assert isinstance(pagerduty(headers, body + b" ", secrets), Unproven)
