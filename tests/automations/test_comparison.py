"""Two simulations beside each other: each firing is told once, on the side that alone has it."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from tests.automations.parts import START
from tocsin.automations.comparison import compare
from tocsin.automations.simulation import Simulated


def fired(second: int, shop: str = "north") -> Simulated:
    return Simulated("late", "Triggered", START + timedelta(seconds=second), None, {"shop": shop}, 1)


def test_what_differs_in_anything_is_told_on_both_sides_in_the_order_of_time() -> None:
    found = compare([fired(2), fired(3)], [fired(1), fired(2), fired(3, "south")])
    assert found.both == 1
    assert found.only == [("against", fired(1)), ("automations", fired(3)), ("against", fired(3, "south"))]


FIRINGS = st.lists(st.integers(0, 3).map(fired), max_size=6)


@given(FIRINGS, FIRINGS)
def test_what_is_left_of_both_and_what_they_share_is_all_there_is(one: list[Simulated], two: list[Simulated]) -> None:
    found = compare(one, two)
    sides = [side for side, _ in found.only]
    assert found.both + sides.count("automations") == len(one)
    assert found.both + sides.count("against") == len(two)
    assert compare(one, list(reversed(one))).only == []
