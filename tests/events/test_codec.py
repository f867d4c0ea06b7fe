"""What may come in as an event, and what is refused with which words."""

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events import codec
from tocsin.events.errors import BadEvent
from tocsin.events.model import DEPTH, Event

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
GOOD = {"event": "orders.loaded", "resource": {"tocsin.resource.id": "orders"}, "occurred": "2026-03-02T08:59:00Z"}


def body(**changes: object) -> bytes:
    return msgspec.json.encode({**GOOD, **changes})


def raw(payload: bytes) -> bytes:
    return body()[:-1] + b',"payload":' + payload + b"}"


REFUSED = [
    pytest.param(b"", "not JSON", id="empty body"),
    pytest.param(b"[]", "an event is a JSON object, not a list", id="a list"),
    pytest.param(b"null", "not null", id="null"),
    pytest.param(b"\xff\xfe", "not UTF-8: invalid start byte at byte 0", id="bad UTF-8"),
    pytest.param(raw(b'{"x": NaN}'), "NaN is not JSON", id="NaN"),
    pytest.param(raw(b'{"x": -Infinity}'), "-Infinity is not JSON", id="infinity"),
    pytest.param(raw(b'{"x": 1e999}'), "inf is not a JSON number", id="a number beyond any float"),
    pytest.param(raw(b'{"x": 1, "x": 2}'), "'x' stands twice", id="duplicate key"),
    pytest.param(raw(b'{"x": %d}' % 2**64), "does not fit 64 bits", id="integer above 64 bits"),
    pytest.param(raw(b'{"x": "\\ud800"}'), "half a surrogate pair", id="lone surrogate"),
    pytest.param(raw(b'{"x": "\\u0000"}'), "NUL", id="NUL in text"),
    pytest.param(raw(b'{"\\u0000": 1}'), "NUL", id="NUL in a key"),
    pytest.param(raw(b'{"x": ' + b"[" * 70 + b"]" * 70 + b"}"), "deeper than 64", id="70 levels deep"),
    pytest.param(raw(b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "deeper than 64", id="100,000 levels deep"),
    pytest.param(raw(b"[1]"), "Expected `object`, got `array` - at `$.payload`", id="payload is a list"),
    pytest.param(body(payload={"x": "a" * 1_000_001}), "at most 1,000,000", id="one byte too many and more"),
    pytest.param(body(occurred="2026-03-02T08:59:00"), "timezone", id="naive time"),
    pytest.param(body(occurred="0001-01-01T00:00:00Z"), "not between 2000-01-01", id="year 1"),
    pytest.param(body(occurred="9999-12-31T23:59:59Z"), "a day from now", id="year 9999"),
    pytest.param(body(occurred="0001-01-01T00:00:00+23:59"), "not between", id="before the year 1 in UTC"),
    pytest.param(body(occurred="2026-03-03T09:00:01Z"), "a day from now", id="a day and a second ahead"),
    pytest.param(body(occurred="tomorrow"), "Invalid RFC3339", id="words for a time"),
    pytest.param(body(event="tocsin.flow-run.Failed"), "kept for tocsin itself", id="foreign tocsin. name"),
    pytest.param(body(event=""), "1 to 1,024 characters", id="empty name"),
    pytest.param(body(event="x" * 1025), "1 to 1,024 characters", id="long name"),
    pytest.param(body(event="\u00e9" * 513), "1 to 1,024 characters", id="long name in bytes"),
    pytest.param(body(resource={"tocsin.resource.id": "x" * 2049}), "at most 2,048 bytes", id="long id"),
    pytest.param(body(event="a\nb"), "control character", id="line break in the name"),
    pytest.param(body(event="a\u202eb"), "control character", id="right-to-left override in the name"),
    pytest.param(body(event="orders.*"), "`*` is for patterns", id="glob in the name"),
    pytest.param(body(resource={}), "resource: the label 'tocsin.resource.id' is missing", id="no resource id"),
    pytest.param(body(resource={"tocsin.resource.id": ""}), "missing or empty", id="empty resource id"),
    pytest.param(body(resource={"tocsin.resource.id": 7}), "Expected `str`, got `int`", id="label is a number"),
    pytest.param(
        body(resource={"tocsin.resource.id": "x"} | {f"l{i}": "v" for i in range(500)}), "at most 500", id="501 labels"
    ),
    pytest.param(
        body(related=[{"tocsin.resource.id": "x"}]), "related[0]: the label 'tocsin.resource.role'", id="no role"
    ),
    pytest.param(
        body(related=[{"tocsin.resource.id": "x", "tocsin.resource.role": "r"}] * 10_000),
        "related: 10,000 resources, at most 100",
        id="10,000 related",
    ),
    pytest.param(body(id="not-a-uuid"), "Invalid UUID", id="bad id"),
    pytest.param(body(ocurred="2026-03-02T08:59:00Z"), "unknown field 'ocurred'", id="misspelt field"),
]


@pytest.mark.parametrize(("bad", "words"), REFUSED)
def test_a_bad_event_is_refused_with_the_field_and_the_reason(bad: bytes, words: str) -> None:
    with pytest.raises(BadEvent) as caught:
        codec.read(bad, NOW)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 400


def test_an_event_of_exactly_the_largest_size_is_read() -> None:
    room = codec.MAX_BYTES - len(body(payload={"x": ""}))
    assert codec.read(body(payload={"x": "a" * room}), NOW).payload["x"] == "a" * room


def test_prefects_label_keys_read_as_ours() -> None:
    event = codec.read(
        body(
            resource={"prefect.resource.id": "orders", "prefect.state-name": "x"},
            related=[{"prefect.resource.id": "f", "prefect.resource.role": "flow"}],
        ),
        NOW,
    )
    assert event.resource == {"tocsin.resource.id": "orders", "prefect.state-name": "x"}
    assert event.related == [{"tocsin.resource.id": "f", "tocsin.resource.role": "flow"}]


def test_a_time_with_an_offset_is_kept_as_utc() -> None:
    event = codec.read(body(occurred="2026-03-02T09:59:00+01:00"), NOW)
    assert event.occurred == datetime(2026, 3, 2, 8, 59, tzinfo=UTC)
    assert event.occurred.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        pytest.param({"x": float("nan")}, "not a JSON number", id="NaN"),
        pytest.param({"x": {1, 2, float("inf")}}, "set is not JSON", id="a set"),
        pytest.param({"x": object()}, "object is not JSON", id="an object"),
        pytest.param({"x": 2**64}, "64 bits", id="a huge integer"),
    ],
)
def test_what_json_cannot_carry_is_refused_before_it_is_written(payload: dict[str, object], words: str) -> None:
    with pytest.raises(BadEvent) as caught:
        codec.encode(Event(event="a", resource={"tocsin.resource.id": "r"}, payload=payload))
    assert words in str(caught.value)


def test_a_payload_that_holds_itself_is_refused() -> None:
    payload: dict[str, object] = {}
    payload["me"] = payload
    with pytest.raises(BadEvent, match="deeper than 64"):
        codec.encode(Event(event="a", resource={"tocsin.resource.id": "r"}, payload=payload))


def test_a_naive_time_is_refused_before_it_is_written() -> None:
    naive = Event(event="a", resource={"tocsin.resource.id": "r"}, occurred=datetime(2026, 1, 1))  # noqa: DTZ001
    with pytest.raises(BadEvent, match="no time zone"):
        codec.encode(naive)


@pytest.mark.parametrize(("label", "depth"), [("3", 3), ("", 0), ("-1", 0), ("²", 0), ("many", 0)])
def test_the_depth_of_a_chain_is_read_from_its_label(label: str, depth: int) -> None:
    assert Event(event="a", resource={"tocsin.resource.id": "r", DEPTH: label}).depth == depth


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
labels = st.dictionaries(texts, texts, max_size=4)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
zones = st.timedeltas(timedelta(hours=-14), timedelta(hours=14)).map(
    lambda offset: timezone(timedelta(minutes=offset // timedelta(minutes=1)))
)
events = st.builds(
    Event,
    event=st.from_regex(r"[a-z]+(\.[a-z-]+){0,3}", fullmatch=True).filter(lambda name: not name.startswith("tocsin.")),
    resource=labels.map(lambda some: {**some, "tocsin.resource.id": "r"}),
    related=st.lists(
        labels.map(lambda some: {**some, "tocsin.resource.id": "x", "tocsin.resource.role": "y"}), max_size=3
    ),
    payload=st.dictionaries(texts, values, max_size=4),
    occurred=st.datetimes(datetime(2001, 1, 1), datetime(2026, 1, 1), timezones=zones),  # noqa: DTZ001
    follows=st.none() | st.uuids(),
    id=st.uuids(),
)


@given(events)
def test_every_event_survives_the_trip_through_its_own_bytes(event: Event) -> None:
    assert codec.decode(codec.encode(event)) == event


@given(events)
def test_what_the_strict_door_admits_is_what_the_producer_meant(event: Event) -> None:
    admitted = codec.read(codec.encode(event), NOW)
    assert msgspec.structs.replace(admitted, resource=event.resource, related=event.related) == event


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_read_or_be_refused(noise: bytes) -> None:
    for reader in (codec.decode, lambda some: codec.read(some, NOW)):
        try:
            reader(noise)
        except BadEvent:
            continue
