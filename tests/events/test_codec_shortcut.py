"""The short way through a payload lets nothing pass that the long way, which knows the reasons, would refuse."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events import codec

ODD = st.sampled_from(["\0", "\ud800", 2**64, 2**64 - 1, -(2**63), -(2**63) - 1, float("nan"), float("inf")])
LEAF = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(max_size=2), ODD)
TREE = st.recursive(
    LEAF | st.tuples(LEAF),
    lambda child: st.lists(child, max_size=4) | st.dictionaries(st.text(max_size=3) | st.integers(), child, max_size=4),
    max_leaves=12,
)


def the_long_way(payload: dict[str, Any]) -> bool:
    return not any(depth > codec.MAX_DEPTH or codec._unfit(value) for depth, value in codec._walk(payload))


@given(st.dictionaries(st.text(max_size=3), TREE, max_size=4))
def test_what_the_short_way_lets_pass_the_long_way_does_too(payload: dict[str, Any]) -> None:
    assert not codec._fits(payload, 1) or the_long_way(payload)


@pytest.mark.parametrize("levels", range(codec.MAX_DEPTH - 4, codec.MAX_DEPTH + 4))
@pytest.mark.parametrize("leaf", [1, [], {}], ids=["a number", "an empty list", "an empty object"])
def test_both_ways_end_at_the_same_depth(levels: int, leaf: Any) -> None:
    for _ in range(levels):
        leaf = [leaf]
    assert codec._fits({"a": leaf}, 1) == the_long_way({"a": leaf})
