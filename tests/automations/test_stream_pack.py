"""Packed signals: what goes in comes out, partition by partition, in order and in records of a bearable size."""

from collections import Counter, defaultdict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.automations.parts import happened
from tocsin.automations.stream_pack import (
    BYTES_AT_MOST,
    SIGNALS_AT_MOST,
    Arrival,
    Packer,
    Seen,
    clock_pack,
    earliest,
    partition_for,
    seen_before,
    seen_now,
    unpack,
)
from tocsin.events.codec import encode
from tocsin.events.errors import BadEvent
from tocsin.triggers.steps import RESOLVES, Signal

MARKS = {"a": "1", "b": "2"}


def signals(number: int, *places: tuple[str, str], size: int = 0) -> list[Signal]:
    """The signals of one event for these automations and keys."""
    event = happened("x", number=number + 1, payload={"text": "x" * size})
    return [Signal(name, (key,), event, (0, RESOLVES), number) for name, key in places]


def packed(width: int, *events: list[Signal]) -> dict[int, list[bytes]]:
    packer = Packer(width, 7, MARKS)
    for found in events:
        packer.add(found, encode(found[0].event))
    return packer.close()


places = st.lists(st.tuples(st.sampled_from("ab"), st.text(max_size=3)), min_size=1, max_size=4)


@given(st.lists(places, max_size=30), st.integers(1, 8))
def test_each_signal_comes_out_once_on_the_partition_of_its_place_in_order(
    found: list[list[tuple[str, str]]], width: int
) -> None:
    events = [signals(number, *where) for number, where in enumerate(found)]
    wanted = defaultdict(list)
    for one in (signal for event in events for signal in event):
        wanted[partition_for(one.automation, one.key, width)].append((one, MARKS[one.automation]))
    came = {
        number: [routed for body in bodies for routed in unpack(body).signals]
        for number, bodies in packed(width, *events).items()
    }
    assert came == wanted


def test_a_place_is_owned_by_the_same_partition_for_ever() -> None:
    """States lie where this says; another answer would look for them elsewhere."""
    where = [partition_for("rule", key, 8) for key in ((), ("a",), ("a", "b"), ("ab",), ("büh",), ("\ud800",))]
    assert where == [4, 0, 7, 1, 6, 6]


def test_a_pack_holds_so_many_signals_at_most() -> None:
    [bodies] = packed(1, *(signals(number, ("a", "k")) for number in range(2 * SIGNALS_AT_MOST + 1))).values()
    assert [len(unpack(body).signals) for body in bodies] == [SIGNALS_AT_MOST, SIGNALS_AT_MOST, 1]


def test_the_signals_of_an_event_lie_in_one_pack_with_the_place_where_it_lay() -> None:
    packer = Packer(1, 7, MARKS)
    for number in range(3):
        found = signals(number, *(("a", str(key)) for key in range(150)))
        packer.add(found, encode(found[0].event), "tocsin.events/3", 40 + number)
    [bodies] = packer.close().values()
    arrivals = [[(one.source, one.offset, len(one.signals)) for one in unpack(body).arrivals] for body in bodies]
    assert arrivals == [[("tocsin.events/3", 40, 150), ("tocsin.events/3", 41, 150)], [("tocsin.events/3", 42, 150)]]


def test_a_pack_is_closed_before_it_is_too_large_unless_one_event_alone_is() -> None:
    sizes = [BYTES_AT_MOST // 2, BYTES_AT_MOST // 2, 10, BYTES_AT_MOST + 1, 10]
    [bodies] = packed(1, *(signals(number, ("a", "k"), size=size) for number, size in enumerate(sizes))).values()
    assert [len(unpack(body).signals) for body in bodies] == [1, 2, 1, 1]


def test_an_event_lies_in_a_pack_once() -> None:
    [[body]] = packed(1, signals(0, ("a", "k"), ("a", "l"), ("b", "k"))).values()
    pack = unpack(body).pack
    assert (len(pack.events), len(pack.signals), pack.automations) == (1, 3, (("a", "1"), ("b", "2")))
    assert pack.revision == 7


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"poison", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"signals": [[0, [], 0, [0]]]}', id="a signal of no automation"),
        pytest.param(b'{"automations": [["a", "1"]], "signals": [[0, [], 0, [0]]]}', id="a signal of no event"),
        pytest.param(b'{"events": [[{"id": 1}, 0]]}', id="an event that is none"),
        pytest.param(b'{"events": [[' + b"[" * 5000 + b"]" * 5000 + b", 0]]}", id="too deep"),
        pytest.param(b"\xff", id="no UTF-8"),
    ],
)
def test_what_is_no_pack_is_said_to_be_none(body: bytes) -> None:
    with pytest.raises(BadEvent, match="not a pack of signals"):
        unpack(body)


def test_a_clock_pack_tells_the_time_and_nothing_else() -> None:
    reached = {"tocsin.events/0": 5, "tocsin.events/1": 7, "tocsin.external/10": 5, "tocsin.external/2": 5}
    found = unpack(clock_pack(reached))
    assert (found.pack.reached, found.signals) == (reached, [])


@pytest.mark.parametrize(
    ("reached", "clock"),
    [
        pytest.param({}, None, id="nobody has been heard of"),
        pytest.param({"a": 5}, None, id="one has not been heard of"),
        pytest.param({"a": 5, "b": 3}, 3, id="the slowest makes the clock"),
        pytest.param({"a": 5, "b": 3, "c": 1}, 3, id="a source that is none does not count"),
    ],
)
def test_the_clock_is_where_all_sources_are(reached: dict[str, int], clock: int | None) -> None:
    assert earliest(reached, ["a", "b"]) == clock


def test_places_spread_over_the_partitions() -> None:
    found = Counter(partition_for("rule", (f"order-{number}",), 8) for number in range(8_000))
    assert all(800 < count < 1_200 for count in found.values())
    assert msgspec.json.encode(sorted(found)) == b"[0,1,2,3,4,5,6,7]"


@pytest.mark.parametrize(
    ("offset", "received", "seen", "repeated"),
    [
        pytest.param(5, 100, None, False, id="the first of its source"),
        pytest.param(5, 100, (5, 99), False, id="the next one"),
        pytest.param(4, 99, (5, 99), True, id="one that came before"),
        pytest.param(0, 10, (5, 99), True, id="one that came long before"),
        pytest.param(0, 100, (5, 99), False, id="the first of a topic that was made anew"),
    ],
)
def test_an_event_that_came_before_is_known(offset: int, received: int, seen: Seen | None, repeated: bool) -> None:
    arrival = Arrival("tocsin.events/0", offset, received, [])
    assert seen_before(arrival, seen) == repeated
    if not repeated:
        assert seen_before(arrival, seen_now(arrival, seen))
