"""Tables of pandas and arrays of numpy hash by content: exactly, and alike in every process."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.flows.test_keys import Elsewhere, elsewhere  # noqa: F401 - a fixture
from tocsin.events.errors import Invalid
from tocsin.flows.keys import input_hash


def frame() -> pd.DataFrame:
    """A table with a column of most kinds."""
    return pd.DataFrame(
        {
            "whole": [1, 2, 3],
            "part": [1.5, float("nan"), -0.0],
            "yes": [True, False, True],
            "text": pd.array(["a", None, "ä"], dtype="str"),
            "mixed": np.array([1, "1", None], dtype=object),
            "at": pd.to_datetime(["2024-01-01", None, "2024-01-03"]),
            "zoned": pd.to_datetime(["2024-01-01", "2024-01-02", None]).tz_localize("Europe/Berlin"),
            "kind": pd.Categorical(["a", "b", "a"]),
            "maybe": pd.array([1, None, 3], dtype="Int64"),
            "span": pd.to_timedelta([1, 2, None], unit="s"),
            "month": pd.period_range("2024-01", periods=3, freq="M"),
        },
        index=pd.Index(["x", "y", "z"], name="row"),
    )


def changed(column: str, row: str, value: Any) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[row, column] = value
        return table

    return change


CHANGES: dict[str, Callable[[pd.DataFrame], Any]] = {
    "a number": changed("whole", "x", 9),
    "a float": changed("part", "x", 1.25),
    "a missing float": changed("part", "x", float("nan")),
    "a flag": changed("yes", "x", False),
    "a text": changed("text", "x", "b"),
    "a missing text": changed("text", "x", None),
    "a text that moves a letter": lambda t: t.assign(text=pd.Series(["", None, "aä"], index=t.index, dtype="str")),
    "a type in a mixed column": changed("mixed", "x", "1"),
    "a time": changed("at", "x", pd.Timestamp("2024-01-02")),
    "a missing time": changed("at", "x", pd.NaT),
    "a time with a zone": changed("zoned", "x", pd.Timestamp("2024-01-05", tz="Europe/Berlin")),
    "the zone": lambda t: t.assign(zoned=t["zoned"].dt.tz_convert("UTC")),
    "a category": changed("kind", "x", "b"),
    "an unused category": lambda t: t.assign(kind=t["kind"].cat.add_categories(["c"])),
    "the order of categories": lambda t: t.assign(kind=t["kind"].cat.reorder_categories(["b", "a"])),
    "ordered categories": lambda t: t.assign(kind=t["kind"].cat.as_ordered()),
    "a number that may be missing": changed("maybe", "x", 2),
    "a missing number": changed("maybe", "x", None),
    "a zero for a missing number": changed("maybe", "y", 0),
    "a span": changed("span", "x", pd.Timedelta(seconds=9)),
    "a period": lambda t: t.assign(month=t["month"] + 1),
    "a type": lambda t: t.astype({"whole": "int32"}),
    "the index": lambda t: t.set_axis(["x", "y", "w"]).rename_axis("row"),
    "the name of the index": lambda t: t.rename_axis("line"),
    "the name of a column": lambda t: t.rename(columns={"whole": "all"}),
    "a column's name of another type": lambda t: t.set_axis([*t.columns[:-1], 1], axis=1),
    "the order of columns": lambda t: t[[*t.columns[1:], t.columns[0]]],
    "the order of rows": lambda t: t.iloc[::-1],
    "a row less": lambda t: t.iloc[:2],
    "a column less": lambda t: t.iloc[:, :-1],
    "a column twice": lambda t: pd.concat([t, t[["whole"]]], axis=1),
    "attributes": lambda t: with_attributes(t),
    "levels of the index": lambda t: t.set_index("whole", append=True),
    "a column alone": lambda t: t["whole"],
    "the index alone": lambda t: t.index,
}


def with_attributes(table: pd.DataFrame) -> pd.DataFrame:
    table.attrs["unit"] = "EUR"
    return table


def test_each_change_of_a_table_changes_its_hash() -> None:
    hashes = {name: input_hash({"df": change(frame())}) for name, change in CHANGES.items()}
    hashes["unchanged"] = input_hash({"df": frame()})
    assert len(set(hashes.values())) == len(CHANGES) + 1, sorted(hashes.items(), key=lambda item: item[1])


SAME: dict[str, Callable[[pd.DataFrame], Any]] = {
    "a copy": lambda t: t.copy(),
    "a table made of its parts": lambda t: pd.concat([t.iloc[:1], t.iloc[1:]]),
    "a slice of a longer one": lambda t: pd.concat([t, t]).iloc[3:],
    "every other row of a doubled one": lambda t: t.loc[t.index.repeat(2)].iloc[::2],
    "columns put in again": lambda t: t[list(reversed(t.columns))][list(t.columns)],
    "text kept by Python": lambda t: t.assign(text=t["text"].astype(pd.StringDtype("python", na_value=float("nan")))),
}


@pytest.mark.parametrize("way", SAME)
def test_however_a_table_came_about_its_hash_is_the_same(way: str) -> None:
    again = SAME[way](frame())
    pd.testing.assert_frame_equal(again, frame(), check_dtype=False)
    assert input_hash({"df": again}) == input_hash({"df": frame()})


SIX = np.arange(6).reshape(2, 3)
PAIRS: dict[str, tuple[Any, Any, bool]] = {
    "numbers and text in one column": (pd.Series([1, "a"]), pd.Series(["1", "a"], dtype=object), False),
    "nothing and the text nan": (pd.Series([float("nan")], dtype=object), pd.Series(["nan"], dtype=object), False),
    "None and NaN": (pd.Series([None, 1], dtype=object), pd.Series([float("nan"), 1], dtype=object), False),
    "bytes and text": (pd.Series([b"a"]), pd.Series(["a"], dtype=object), False),
    "a range and its numbers": (pd.RangeIndex(3), pd.Index([0, 1, 2]), True),
    "levels that no row uses": (
        pd.MultiIndex.from_product([["a", "b"], [1]])[:1],
        pd.MultiIndex.from_tuples([("a", 1)]),
        True,
    ),
    "arrays of another shape": (np.zeros((2, 3)), np.zeros((3, 2)), False),
    "arrays of another order in memory": (
        np.arange(6).reshape(2, 3),
        np.asfortranarray(np.arange(6).reshape(2, 3)),
        True,
    ),
    "arrays of another width": (np.zeros(2, "i4"), np.zeros(1, "i8"), False),
    "a view and its copy": (np.arange(10)[::2], np.arange(10)[::2].copy(), True),
    "arrays of objects": (np.array([1, "a"], dtype=object), np.array(["1", "a"], dtype=object), False),
    "a number of numpy and its array": (np.float64(1), np.array(1.0), False),
    "a number of numpy and Python's": (np.float64(1), 1.0, False),
    "moments a nanosecond apart": (pd.Timestamp(1, unit="ns"), pd.Timestamp(2, unit="ns"), False),
    "text that ends elsewhere": (pd.Series(["ab", "c"]), pd.Series(["a", "bc"]), False),
    "sparse": (pd.Series(pd.arrays.SparseArray([0, 1])), pd.Series(pd.arrays.SparseArray([0, 2])), False),
    "intervals": (pd.Series(pd.interval_range(0, 2)), pd.Series(pd.interval_range(0, 2, closed="left")), False),
    "arrow's whole numbers": (pd.Series([1], dtype="int64[pyarrow]"), pd.Series([2], dtype="int64[pyarrow]"), False),
    "arrow's times": (
        pd.Series([pd.Timestamp("2024")], dtype="timestamp[us][pyarrow]"),
        pd.Series([pd.Timestamp("2025")], dtype="timestamp[us][pyarrow]"),
        False,
    ),
    "masked arrays": (np.ma.array([1, 2], mask=[False, True]), np.ma.array([1, 2], mask=[True, False]), False),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str) -> None:
    one, other, same = PAIRS[name]
    assert (input_hash({"x": one}) == input_hash({"x": other})) is same
    assert input_hash({"x": one}) == input_hash({"x": one})


def test_holes_in_records_do_not_count() -> None:
    kind = np.dtype({"names": ["a", "b"], "formats": ["i1", "i8"], "offsets": [0, 8], "itemsize": 16})
    one, other = np.zeros(2, kind), np.full(32, 255, "u1").view(kind)
    for records in (one, other):
        records["a"], records["b"] = 1, 2
    assert one.tobytes() != other.tobytes()
    assert input_hash({"x": one}) == input_hash({"x": other})


cells = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates() | st.tuples(st.text())
)
columns = st.lists(st.lists(cells, min_size=3, max_size=3), min_size=1, max_size=4)


@settings(max_examples=50)
@given(columns=columns)
def test_a_table_has_the_same_hash_in_another_process(elsewhere: Elsewhere, columns: list[list[Any]]) -> None:  # noqa: F811
    table = pd.concat([pd.Series(column, dtype=object).infer_objects() for column in columns], axis=1)
    assert elsewhere.hash(table) == input_hash({"x": table})


def test_a_table_with_something_unhashable_in_it_names_the_argument() -> None:
    with pytest.raises(Invalid, match=r"argument 'orders' \(DataFrame\) has no stable hash"):
        input_hash({"orders": pd.DataFrame({"a": [threading.Lock()]})})
