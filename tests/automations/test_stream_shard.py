"""What a partition remembers: read back from its changelog, whoever wrote to it and wherever it was cut."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.automations.evaluate import Place
from tocsin.automations.stream_shard import (
    BUCKETS,
    RECORD_BYTES,
    ROLL_BYTES,
    Held,
    Shard,
    chunk,
    claim,
    deltas,
)
from tocsin.events.errors import BadEvent

PLACES: list[Place] = [("a", (f"k{number}",)) for number in range(6)]
states = st.one_of(
    st.none(), st.builds(Held, st.integers(0, 99).map(lambda n: b"%d" % n), st.none() | st.integers(0, 9))
)
changes = st.dictionaries(st.sampled_from(PLACES), states, max_size=4)


@dataclass
class Log:
    """A changelog: its records, and how many of them are cut off."""

    records: list[bytes] = field(default_factory=list)
    first: int = 0

    def read(self, shard: Shard) -> Shard:
        """Let the shard read what it has not read yet."""
        for offset in range(max(shard.read, self.first), len(self.records)):
            shard.apply(self.records[offset], offset)
        return shard

    def take_over(self, name: str) -> Shard:
        """A new owner, which has read its own claim."""
        shard = self.read(Shard(0))
        self.records.append(claim(shard, name))
        assert (self.read(shard).by, shard.read) == (name, len(self.records))
        return shard

    def write(self, shard: Shard, records: list[bytes], bucket: int = -1) -> None:
        """Write as the owner that `shard` belongs to."""
        self.records += records
        shard.wrote(records, bucket)

    def batch(self, shard: Shard, changed: dict[Place, Held | None], handled: int) -> None:
        """Write what a batch has changed, and remember it."""
        self.write(shard, deltas(shard, changed, handled))
        for place, held in changed.items():
            shard.keep(place, held)
        shard.handled = handled

    def roll(self, shard: Shard) -> None:
        """Write the next bucket anew, and cut."""
        self.write(shard, chunk(shard, shard.next_bucket), shard.next_bucket)
        self.first = shard.useless() or 0


def content(shard: Shard) -> dict[Place, Held]:
    return dict(shard.places())


@given(st.lists(st.tuples(changes, st.integers(0, 2 * BUCKETS)), max_size=8), st.integers(0, 7))
def test_a_new_owner_remembers_what_the_last_one_did(
    batches: list[tuple[dict[Place, Held | None], int]], change_of_owner: int
) -> None:
    log = Log()
    shard = log.take_over("first")
    for number, (changed, rolls) in enumerate(batches):
        if number == change_of_owner:
            shard = log.take_over("second")
        log.batch(shard, changed, number + 1)
        for _ in range(rolls):
            log.roll(shard)
    found = log.take_over("last")
    assert content(found) == content(shard)
    assert (found.handled, found.size) == (len(batches), shard.size)
    assert len(found) == len(shard) == len(content(shard))
    assert found.size == sum(shard.sizes)


@given(changes, changes, st.booleans())
def test_what_a_superseded_owner_still_writes_is_not_read(
    ours: dict[Place, Held | None], theirs: dict[Place, Held | None], rolls: bool
) -> None:
    log = Log()
    old = log.take_over("old")
    log.batch(old, {PLACES[0]: Held(b"1", None)}, 1)
    new = log.take_over("new")
    log.batch(new, ours, 2)
    log.records += deltas(old, theirs, 3)
    if rolls:
        log.records += chunk(old, 0)
    found = log.read(Shard(0))
    assert (content(found), found.handled, found.by) == (content(new), 2, "new")


def test_of_two_that_claim_at_once_the_first_wins_and_the_other_claims_again() -> None:
    log = Log()
    first, second = log.read(Shard(0)), log.read(Shard(0))
    log.records += [claim(first, "first"), claim(second, "second")]
    assert (log.read(second).by, second.epoch) == ("first", 1)
    log.records.append(claim(second, "second"))
    assert (log.read(second).by, second.epoch) == ("second", 2)
    log.records += deltas(log.read(first), {}, 9)
    assert log.read(Shard(0)).by == "second"


def test_a_chunk_that_is_not_whole_changes_nothing() -> None:
    log = Log()
    shard = log.take_over("one")
    large: dict[Place, Held | None] = {
        ("a", (str(number),)): Held(b'"%s"' % (b"x" * 400_000), None) for number in range(400)
    }
    log.batch(shard, large, 1)
    bucket = max(range(BUCKETS), key=lambda number: len(shard.buckets[number]))
    records = chunk(shard, bucket)
    assert len(records) > 1
    assert all(len(record) < RECORD_BYTES + 500_000 for record in (*records, *log.records))
    log.records += records[:-1]
    found = log.take_over("two")
    assert content(found) == large
    log.write(found, chunk(found, bucket), bucket)
    assert content(log.read(Shard(0))) == large


def test_a_batch_of_which_only_a_part_was_written_counts_as_not_handled() -> None:
    log = Log()
    shard = log.take_over("one")
    large: dict[Place, Held | None] = {("a", (str(n),)): Held(b'"%s"' % (b"x" * 600_000), None) for n in range(3)}
    records = deltas(shard, large, 5)
    assert len(records) == 3
    log.records += records[:-1]
    assert (log.read(shard).handled, len(shard)) == (0, 2)
    log.records += records[-1:]
    assert (log.read(shard).handled, len(shard)) == (5, 3)


def test_the_changelog_stays_in_proportion_to_what_is_remembered() -> None:
    log = Log()
    shard = log.take_over("one")
    for number in range(2_000):
        keys = (str((number * 100 + n) % 500) for n in range(100))
        changed: dict[Place, Held | None] = {("a", (key,)): Held(b'{"count":%d}' % number, None) for key in keys}
        log.batch(shard, changed, number)
        if shard.roll() is not None:
            log.roll(shard)
    kept = sum(map(len, log.records[log.first :]))
    assert log.first > 0
    assert kept < BUCKETS * ROLL_BYTES + 4 * shard.size
    assert content(log.read(Shard(0))) == content(shard)


@given(st.lists(st.tuples(st.sampled_from(PLACES), states), max_size=30), st.integers(0, 10))
def test_the_overdue_are_found_the_earliest_first_until_they_are_kept_anew(
    kept: list[tuple[Place, Held | None]], clock: int
) -> None:
    shard = Shard(0)
    for place, held in kept:
        shard.keep(place, held)
    due = {place: held.due for place, held in shard.places() if held.due is not None and held.due <= clock}
    found = shard.overdue(clock, 10)
    assert sorted(found) == sorted(due)
    assert [due[place] for place in found] == sorted(due.values())
    assert shard.overdue(clock, 10) == found
    for place in found:
        shard.keep(place, Held(b"1", clock + 1))
    assert shard.overdue(clock, 10) == []
    assert set(shard.overdue(clock + 1, 10)) >= set(due)


@pytest.mark.parametrize("body", [b"", b"poison", b'{"epoch": "x"}', b"\xff"])
def test_a_record_that_cannot_be_read_is_said_to_be_none_and_passed(body: bytes) -> None:
    shard = Shard(0)
    with pytest.raises(BadEvent, match="not a record of the changelog"):
        shard.apply(body, 4)
    assert shard.read == 5
