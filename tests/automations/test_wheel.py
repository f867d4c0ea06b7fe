"""The tick wheel: whatever is filed, moved and taken, it is the sorted list of what stands."""

from hypothesis import given
from hypothesis import strategies as st

from tocsin.automations.wheel import Wheel

SECOND = 1_000_000


def test_the_due_leave_in_their_order_and_the_rest_stays() -> None:
    wheel: Wheel[str] = Wheel()
    for item, due in [("late", 5 * SECOND), ("b", 1_500_000), ("a", 1_200_000), ("c", 1_900_000)]:
        wheel.file(item, due)
    assert wheel.next == 1_200_000
    assert wheel.take(1_500_000) == [(1_200_000, "a"), (1_500_000, "b")]
    assert (wheel.next, len(wheel)) == (1_900_000, 2)


def test_an_item_has_one_deadline_the_last_one_filed() -> None:
    wheel: Wheel[str] = Wheel()
    for due in (1, 9 * SECOND, 3 * SECOND, 3 * SECOND):
        wheel.file("a", due)
    assert wheel.take(2 * SECOND) == []
    assert wheel.take(9 * SECOND) == [(3 * SECOND, "a")]
    wheel.file("a", 1)
    wheel.file("a", None)
    assert (wheel.next, wheel.take(SECOND)) == (None, [])


DUE = st.integers(0, 5 * SECOND)
FILED = st.tuples(st.just("file"), st.sampled_from("abcdef"), st.none() | DUE)
TAKEN = st.tuples(st.just("take"), st.just(""), DUE)


@given(st.lists(FILED | TAKEN))
def test_it_is_a_sorted_list_of_what_stands(steps: list[tuple[str, str, int | None]]) -> None:
    wheel: Wheel[str] = Wheel()
    standing: dict[str, int] = {}
    for step, item, due in steps:
        if step == "file":
            wheel.file(item, due)
            standing.pop(item, None)
            if due is not None:
                standing[item] = due
        elif due is not None:
            wanted = sorted(one for one in standing.values() if one <= due)
            taken = wheel.take(due)
            assert [at for at, _ in taken] == wanted
            assert all(standing.pop(one) == at for at, one in taken)
        assert wheel.next == min(standing.values(), default=None)
        assert len(wheel) == len(standing)
