"""Events read back from a file or from the log, in the order in which they came."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.automations.parts import START, happened, log
from tocsin.automations.recorded import from_log, read_recording, recording
from tocsin.events.codec import encode
from tocsin.events.errors import Invalid
from tocsin.store.engine import Store
from tocsin.store.log import append

LINE: dict[str, Any] = {
    "event": "orders.late",
    "resource": {"tocsin.resource.id": "order.1"},
    "occurred": "2026-03-02T09:00:00Z",
}


def lines(*documents: dict[str, Any]) -> list[bytes]:
    return [json.dumps({**LINE, **document}).encode() + b"\n" for document in documents]


def test_what_the_codec_writes_reads_back() -> None:
    events = [happened("a", at=1, payload={"n": [1, {"x": None}]}, related=[]), happened("b", at=2)]
    assert [one.event for one in recording(map(encode, events), "x").events] == events


def test_events_are_taken_by_when_they_were_received_and_else_occurred() -> None:
    given = lines(
        {"event": "third", "received": "2026-03-02T09:02:00Z"},
        {"event": "first", "occurred": "2026-03-02T10:00:00+01:00"},
        {"event": "second", "occurred": "2026-03-02T08:00:00Z", "received": "2026-03-02T09:01:00Z"},
        {"event": "fourth", "received": "2026-03-02T09:02:00Z"},
    )
    found = recording(given, "x").events
    assert [one.event.event for one in found] == ["first", "second", "third", "fourth"]
    assert [(one.received - START).seconds for one in found] == [0, 60, 120, 120]


def test_a_line_without_an_id_has_the_same_one_each_time() -> None:
    first, second = (recording(lines({}, {}), "x").events for _ in range(2))
    assert first == second
    assert first[0].event.id != first[1].event.id


def test_labels_of_prefect_are_read_as_ours() -> None:
    [one] = recording(lines({"resource": {"prefect.resource.id": "order.1"}}), "x").events
    assert one.event.resource == {"tocsin.resource.id": "order.1"}


BAD = [
    pytest.param(b"{", "truncated", id="no JSON"),
    pytest.param(b"[]", "object", id="no object"),
    pytest.param(b'{"event": "x"}', "missing required field", id="a field is missing"),
    pytest.param(lines({"ocurred": "x"})[0], "unknown field `ocurred`", id="a field is misspelt"),
    pytest.param(lines({"occurred": "2026-03-02T09:00:00"})[0], "timezone", id="no zone"),
    pytest.param(lines({"event": ""})[0], "event name", id="no name"),
    pytest.param(lines({"resource": {"a": "b"}})[0], "tocsin.resource.id", id="no id of the resource"),
    pytest.param(b'{"event": "\xff"}', "utf-8", id="no UTF-8"),
]


@pytest.mark.parametrize(("line", "said"), BAD)
def test_a_line_that_is_no_event_is_named_or_counted(line: bytes, said: str, tmp_path: Path) -> None:
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n" + lines({})[0] + line + b"\n" + lines({})[0])
    with pytest.raises(Invalid, match=rf"events\.jsonl, line 3: .*(?i:{said})"):
        read_recording(file)
    found = read_recording(file, skip_bad=True)
    assert (len(found.events), found.skipped) == (2, 1)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"nowhere: No such file"):
        read_recording(tmp_path / "nowhere")


def test_the_log_is_read_in_its_order_between_two_instants(store: Store) -> None:
    for second in range(4):
        with store.begin() as session:
            append(session, [happened(f"e{second}", at=-second)], now=START + timedelta(seconds=second))
    with store.read() as session:
        found = list(from_log(session, START + timedelta(seconds=1), START + timedelta(seconds=3)))
        everything = list(from_log(session))
    assert [(one.event.event, one.received) for one in found] == [
        (f"e{second}", START + timedelta(seconds=second)) for second in (1, 2)
    ]
    assert len(everything) == 4


def test_what_stands_later_in_the_log_was_received_later_as_the_host_sees_it(store: Store) -> None:
    for at in (0, 2, 1, 3):
        log(store, happened("x", number=1 + at), now=START + timedelta(seconds=at))
    with store.read() as session:
        found = [(one.event.id.int, (one.received - START).total_seconds()) for one in from_log(session)]
    assert found == [(1, 0), (3, 2), (2, 2), (4, 3)]


def test_a_long_log_is_read_to_its_end(sqlite_url: str) -> None:
    store = Store.open(sqlite_url)
    log(store, *(happened("x") for _ in range(2_001)))
    with store.read() as session:
        assert len(list(from_log(session))) == 2_001
    store.close()
