"""Tables in one form, whatever they were given as."""

import datetime
from decimal import Decimal
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tocsin.events.errors import Invalid
from tocsin.flows.tabular import tabular

DAY = datetime.date(2026, 3, 2)
ROWS: list[tuple[str, Any, list[str], list[list[Any]]]] = [
    ("rows as dicts", [{"a": 1, "b": "x"}, {"a": 2, "b": None}], ["a", "b"], [[1, "x"], [2, None]]),
    ("a row leaves out a column", [{"a": 1}, {"b": 2}], ["a", "b"], [[1, None], [None, 2]]),
    ("columns as lists", {"a": [1, 2], "b": [True, False]}, ["a", "b"], [[1, True], [2, False]]),
    ("rows as lists", [[1, 2], [3]], ["1", "2"], [[1, 2], [3, None]]),
    ("no rows", [], [], []),
    ("columns without rows", {"a": []}, ["a"], []),
    ("a frame", pd.DataFrame({"a": [1, 2], "b": [0.5, float("nan")]}), ["a", "b"], [[1, 0.5], [2, None]]),
    ("a frame with times", pd.DataFrame({"t": [pd.Timestamp("2026-03-02"), pd.NaT]}), ["t"],
     [["2026-03-02T00:00:00"], [None]]),
    ("two columns of a name", pd.DataFrame([[1, 2]], columns=["a", "a"]), ["a", "a"], [[1, 2]]),
    ("a series among columns", {"a": pd.Series([1, 2])}, ["a"], [[1], [2]]),
    ("days, money, keys that are numbers", [{1: DAY, 2: Decimal("1.50")}], ["1", "2"],
     [["2026-03-02", "Decimal('1.50')"]]),
    ("a value with parts", [{"a": {"b": [1, (2,)]}}], ["a"], [[{"b": [1, [2]]}]]),
]  # fmt: skip


@pytest.mark.parametrize(("table", "columns", "rows"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_a_table_has_columns_and_rows(table: Any, columns: list[str], rows: list[list[Any]]) -> None:
    made = tabular(table)
    assert made == {"columns": columns, "rows": rows}
    assert all(type(cell) is not bool or cell in (True, False) for row in made["rows"] for cell in row)


def test_a_number_of_numpy_is_a_number() -> None:
    cells = tabular(pd.DataFrame({"a": [1], "b": [1.5], "c": [True]}))["rows"][0]
    assert [type(cell) for cell in cells] == [int, float, bool]


WRONG: list[tuple[str, Any, str]] = [
    ("a text", "a,b", "this is a str"),
    ("a number", 3, "this is a int"),
    ("columns of two lengths", {"a": [1], "b": [1, 2]}, "'a' has 1, 'b' has 2"),
    ("a column that is a text", {"a": "xyz"}, "column 'a' is a str"),
    ("rows of both kinds", [{"a": 1}, [2]], "this is a list"),
]


@pytest.mark.parametrize(("table", "says"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_what_is_no_table_is_refused(table: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        tabular(table)


cells = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
names = st.text("abcdef", min_size=1, max_size=3)


@given(st.lists(names, unique=True, min_size=1, max_size=4), st.data())
def test_rows_and_columns_of_the_same_table_are_the_same(columns: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.tuples(*[cells for _ in columns]), max_size=5))
    by_rows = tabular([dict(zip(columns, row, strict=True)) for row in rows])
    by_columns = tabular({name: [row[at] for row in rows] for at, name in enumerate(columns)})
    assert by_columns == {"columns": columns, "rows": [list(row) for row in rows]}
    assert by_rows == (by_columns if rows else {"columns": [], "rows": []})
