"""Which event a message of somebody else's topic means."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tocsin.events.bus import Record
from tocsin.events.clock import micros
from tocsin.events.codec import encode
from tocsin.events.errors import BadEvent, Invalid
from tocsin.events.ids import derive
from tocsin.events.model import Event
from tocsin.triggers.source import KafkaSource, event_of, source_of
from tocsin.triggers.source_reader import take
from tocsin.triggers.sources import same_cluster

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
SENT = NOW - timedelta(minutes=5)
BY_KIND = {"event": "join('.', ['orders', body.kind])", "resource": "key"}
PAID = {"kind": "paid", "rows": 3}
OURS = Event(event="orders.paid", resource={"tocsin.resource.id": "A-7"}, occurred=SENT)


def source(**fields: Any) -> KafkaSource:
    return KafkaSource(**{"name": "orders", "topic": "shop.orders", **fields})


def record(body: Any, **fields: Any) -> Record:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Record(
        **{
            "topic": "shop.orders", "key": "A-7", "body": raw, "stream": "c/shop.orders", "partition": 3, "offset": 41,
            "received": micros(SENT), **fields,
        }
    )  # fmt: skip


def test_by_its_mapping() -> None:
    found = event_of(source(mapping=BY_KIND), record(PAID), NOW)
    assert found is not None
    assert (found.event, found.resource_id, found.payload, found.occurred) == ("orders.paid", "A-7", PAID, SENT)


def test_the_id_is_the_place_where_it_lay_unless_the_mapping_names_one() -> None:
    place = derive("record", "c/shop.orders", 3, 41)
    named = source(mapping={**BY_KIND, "id": "body.kind"})
    assert [event.id for event in (event_of(source(mapping=BY_KIND), record(PAID), NOW),) if event] == [place]
    assert event_of(named, record(PAID), NOW) == event_of(named, record(PAID), NOW)


def test_a_mapping_may_ask_how_the_message_came() -> None:
    asked = {"event": "topic", "resource": '{"tocsin.resource.id": key, p: to_string(partition), h: headers.kind}'}
    found = event_of(source(mapping=asked), record(PAID, headers=(("kind", b"refund"),)), NOW)
    assert found is not None
    assert found.resource == {"tocsin.resource.id": "A-7", "p": "3", "h": "refund"}


NOTHING = [
    pytest.param({"mapping": {**BY_KIND, "where": "body.rows > `5`"}}, record(PAID), id="where is not met"),
    pytest.param({"mapping": BY_KIND}, record(b""), id="a tombstone"),
    pytest.param({"mapping": BY_KIND}, record(b"", headers=(("content-type", b"text/plain"),)), id="one with a type"),
    pytest.param({"format": "cloudevents"}, record(b"", headers=(("trace", b"1"),)), id="a tombstone of CloudEvents"),
    pytest.param({"mapping": BY_KIND, "since": NOW}, record(PAID), id="older than since"),
    pytest.param({"format": "cloudevents", "since": NOW}, record(b"junk"), id="older than since, whatever it is"),
]


@pytest.mark.parametrize(("fields", "given"), NOTHING)
def test_a_message_may_mean_none(fields: dict[str, Any], given: Record) -> None:
    assert event_of(source(**fields), given, NOW) is None


def test_our_own_form_needs_no_mapping() -> None:
    assert event_of(source(format="tocsin"), record(encode(OURS)), NOW) == OURS
    short = event_of(source(format="tocsin"), record({"event": "a", "resource": {"tocsin.resource.id": "b"}}), NOW)
    assert short is not None
    assert (short.id, short.occurred) == (derive("record", "c/shop.orders", 3, 41), SENT)


def test_a_cloudevent_needs_no_mapping() -> None:
    headers = (("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/shop"), ("ce_type", b"orders.paid"))
    found = event_of(source(format="cloudevents"), record(PAID, headers=headers), NOW)
    assert found is not None
    assert (found.event, found.resource_id, found.payload, found.occurred) == ("orders.paid", "/shop", PAID, SENT)


@pytest.mark.parametrize("stamp", [0, -1000, micros(NOW + timedelta(days=400)), 5])
def test_a_stamp_that_cannot_be_true_is_not_believed(stamp: int) -> None:
    found = event_of(source(mapping=BY_KIND), record(PAID, received=stamp), NOW)
    assert found is not None
    assert found.occurred == NOW


BAD = [
    pytest.param("json", b"{", "not JSON", id="no JSON"),
    pytest.param("json", b'{"kind": 5}', "event: expression", id="a mapping that fails"),
    pytest.param("json", b'{"kind": "x", "a": NaN}', "NaN", id="NaN"),
    pytest.param("json", b" " * 1_000_001, "1,000,001 bytes", id="too large"),
    pytest.param("json", b"[" * 5000, "nested deeper", id="too deep"),
    pytest.param("cloudevents", b"{}", "missing", id="no CloudEvent"),
    pytest.param("openlineage", b"{}", "neither a RunEvent", id="no OpenLineage"),
    pytest.param("tocsin", b"[]", "JSON object", id="no event"),
    pytest.param("tocsin", b'{"event":"tocsin.x","resource":{"tocsin.resource.id":"a"}}', "kept for", id="our names"),
]


@pytest.mark.parametrize(("form", "body", "reason"), BAD)
def test_what_means_no_event_is_refused_with_the_reason(form: str, body: bytes, reason: str) -> None:
    fields = {"mapping": BY_KIND} if form == "json" else {}
    with pytest.raises(BadEvent, match=reason):
        event_of(source(format=form, **fields), record(body), NOW)


WRONG = [
    pytest.param({}, "needs a mapping", id="json without a mapping"),
    pytest.param({"format": "openlineage", "mapping": BY_KIND}, "leave the mapping out", id="a mapping too many"),
    pytest.param({"mapping": BY_KIND, "topic": "tocsin.events"}, "tocsin's own topic", id="our own topic"),
    pytest.param({"mapping": BY_KIND, "topic": "x.tocsin.external"}, "tocsin's own topic", id="ours behind a prefix"),
    pytest.param({"mapping": BY_KIND, "topic": "a b"}, "topic: ", id="no topic's name"),
    pytest.param(
        {"mapping": {"event": "orders.paid", "resource": "key"}}, "mapping.event: .*quotes|text", id="mapping"
    ),
    pytest.param({"mapping": {**BY_KIND, "event": "'tocsin.x'"}}, "mapping.event: .*kept for tocsin", id="our names"),
    pytest.param({"mapping": {**BY_KIND, "event": "tocsin.{{ body.x }}"}}, "kept for tocsin", id="our names, rendered"),
    pytest.param({"mapping": BY_KIND, "since": "2026-03-02T09:00:00"}, "since: ", id="since without a zone"),
    pytest.param({"mapping": BY_KIND, "colour": "red"}, "colour: ", id="unknown field"),
]


@pytest.mark.parametrize(("fields", "reason"), WRONG)
def test_a_source_that_cannot_work_is_refused_by_name(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(Invalid, match=f"source 'orders': .*({reason})"):
        source_of({"name": "orders", "topic": "shop.orders", **fields})


def test_an_event_that_grows_beyond_what_is_kept_is_bad_alone() -> None:
    grown = {**BY_KIND, "payload": {str(copy): "body" for copy in range(20)}}
    taken = take(source(mapping=grown), [record({**PAID, "text": "x" * 90_000}), record(PAID)], NOW)
    assert [event.event for event, _ in taken.events] == ["orders.paid"]
    assert list(taken.bad) == [0]
    assert "at most 1,000,000" in taken.bad[0]


@pytest.mark.parametrize(
    ("address", "ours", "same"),
    [
        pytest.param("a:1,b:2", "a:1,b:2", True, id="the same"),
        pytest.param("b:2, a:1", "a:1,b:2", True, id="in another order"),
        pytest.param("b:2", "a:1,b:2", True, id="one of its servers"),
        pytest.param("b:2,c:3", "a:1,b:2", False, id="a stranger among them"),
        pytest.param("a:11", "a:1", False, id="another port"),
        pytest.param("a:1", None, False, id="none of ours"),
    ],
)
def test_how_we_log_in_is_shown_to_no_other_cluster(address: str, ours: str | None, same: bool) -> None:
    assert same_cluster(address, ours) is same
