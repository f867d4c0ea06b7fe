"""Reading a post: whatever the bytes are, they become events or a refusal that names what is wrong."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.codec import decode, encode
from tocsin.server.api.events import parse
from tocsin.server.api.problems import Refused, field_of

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
FIELDS = ("event", "resource", "related", "payload", "occurred", "id", "follows", "tags")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
names = st.from_regex(r"[a-s]{1,8}(\.[a-z]{1,8}){0,3}", fullmatch=True)
labels = st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3)
good = st.fixed_dictionaries(
    {
        "event": names,
        "occurred": st.just(NOW.isoformat()),
        "resource": labels.map(lambda some: {**some, "tocsin.resource.id": "orders"}),
    },
    optional={"payload": st.dictionaries(st.text(max_size=5), st.integers(0, 9) | st.text(max_size=5), max_size=3)},
)
mangled = st.builds(lambda event, field, value: {**event, field: value}, good, st.sampled_from(FIELDS), json_values)


def read(body: bytes) -> list[Any] | Refused:
    try:
        return parse(body, NOW)
    except Refused as refusal:
        return refusal


@given(st.binary())
def test_any_bytes_are_events_or_refused(body: bytes) -> None:
    assert isinstance(read(body), list | Refused)


@given(json_values | mangled | st.lists(mangled, max_size=4))
def test_any_json_is_events_or_refused_by_place(document: Any) -> None:
    outcome = read(json.dumps(document).encode())
    if isinstance(outcome, Refused):
        assert str(outcome)
        count = len(document) if isinstance(document, list) else 1
        assert all(0 <= flaw.index < max(count, 1) for flaw in outcome.flaws)
        assert 400 <= outcome.status < 500


@given(st.lists(good, min_size=1, max_size=5))
def test_what_is_taken_in_can_be_stored_and_read_again(documents: list[dict[str, Any]]) -> None:
    outcome = read(json.dumps(documents).encode())
    if isinstance(outcome, list):
        assert [decode(encode(event)) for event in outcome] == outcome
        assert [event.event for event in outcome] == [document["event"] for document in documents]
    else:
        assert all("NUL" in flaw.reason or "surrogate" in flaw.reason for flaw in outcome.flaws)


@given(mangled, st.integers(1, 4))
def test_one_bad_event_refuses_the_batch(bad: dict[str, Any], place: int) -> None:
    alone = read(json.dumps([bad]).encode())
    batch = [{"event": "a", "occurred": NOW.isoformat(), "resource": {"tocsin.resource.id": "x"}}] * place + [bad]
    together = read(json.dumps(batch).encode())
    assert isinstance(together, Refused) == isinstance(alone, Refused)
    if isinstance(alone, Refused) and alone.flaws and isinstance(together, Refused) and len(together.flaws) == 1:
        assert together.flaws[0].reason == alone.flaws[0].reason


def test_a_reason_without_a_field_is_about_the_whole_event() -> None:
    assert field_of("nested deeper than 64 levels") is None
