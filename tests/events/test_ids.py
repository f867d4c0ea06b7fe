"""Ids: new ones sort by time, derived ones come out the same again and never for something else."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from tocsin.events import ids


def test_new_ids_are_of_version_7_and_differ() -> None:
    made = [ids.uuid7() for _ in range(2_000)]
    assert len(set(made)) == len(made)
    assert {(one.version, one.variant) for one in made} == {(7, "specified in RFC 4122")}


def test_new_ids_sort_in_the_order_of_their_making() -> None:
    made = [ids.uuid7() for _ in range(2_000)]
    assert made == sorted(made)
    assert abs((made[0].int >> 80) / 1000 - datetime.now(UTC).timestamp()) < 60


def test_derived_ids_are_written_down() -> None:
    """A change here would make every replay name its firings anew."""
    run = UUID(int=1)
    noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert str(ids.tick_id("nightly", noon)) == "a7bb7c8b-5440-5aaf-a07c-6dced0189321"
    assert str(ids.state_event_id(run, 3)) == "47ab8512-5bf3-5603-892c-f47192c88c6e"
    assert str(ids.firing_id("late", ("a", "b"), run)) == "cfdc1e8b-ea41-53a6-8586-297e994dc8c7"
    assert str(ids.invocation_id(run, 0)) == "a13869fd-2a5d-539a-9128-6797c40c3731"


def test_a_tick_has_one_id_in_every_zone() -> None:
    noon = datetime(2026, 3, 29, 12, tzinfo=UTC)
    assert ids.tick_id("s", noon) == ids.tick_id("s", noon.astimezone(timezone(timedelta(hours=5, minutes=45))))


words = st.text(max_size=4)


@given(st.lists(words, max_size=3), st.lists(words, max_size=3))
def test_other_parts_give_another_id(one: list[str], other: list[str]) -> None:
    assert (ids.derive("k", *one) == ids.derive("k", *other)) is (one == other)


@given(words, st.lists(words, max_size=2).map(tuple), words, st.lists(words, max_size=2).map(tuple), words)
def test_firings_of_other_keys_have_other_ids(
    name: str, key: tuple[str, ...], other_name: str, other_key: tuple[str, ...], cause: str
) -> None:
    same = ids.firing_id(name, key, cause) == ids.firing_id(other_name, other_key, cause)
    assert same is ((name, key) == (other_name, other_key))
