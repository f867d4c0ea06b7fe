"""Tables in one form, whatever they were given as: the names of the columns, and rows of JSON values."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tocsin.events.errors import Invalid
from tocsin.flows.portable import portable

FORMS: Final = "a list of rows as dicts, a dict of columns as lists, or a DataFrame"

# Any below: cells are whatever the user's rows hold.
Table = dict[str, Any]


def tabular(table: object) -> Table:
    """`{"columns": [...], "rows": [[...], ...]}`; a cell that a row leaves out, and NaN, is None.

    Raises Invalid for what is no table, and for columns of different lengths.
    """
    if hasattr(table, "itertuples") and hasattr(table, "columns"):
        return _made(list(table.columns), table.itertuples(index=False, name=None))
    if isinstance(table, Mapping):
        return _of_columns(table)
    if isinstance(table, list | tuple) and all(isinstance(row, Mapping) for row in table):
        names = list(dict.fromkeys(name for row in table for name in row))
        return _made(names, ([row.get(name) for name in names] for row in table))
    if isinstance(table, list | tuple) and all(isinstance(row, list | tuple) for row in table):
        widest = max(map(len, table), default=0)
        return _made([str(number) for number in range(1, widest + 1)], (_filled(row, widest) for row in table))
    raise Invalid(f"a table artifact takes {FORMS}; this is a {type(table).__name__}")


def _of_columns(table: Mapping[Any, Any]) -> Table:
    wrong = [name for name, column in table.items() if isinstance(column, str) or not hasattr(column, "__len__")]
    if wrong:
        raise Invalid(f"column {wrong[0]!r} is a {type(table[wrong[0]]).__name__}; a table artifact takes {FORMS}")
    lengths = {name: len(column) for name, column in table.items()}
    if len(set(lengths.values())) > 1:
        said = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise Invalid(f"the columns of a table are of one length; {said}")
    return _made(list(table), zip(*table.values(), strict=True))


def _made(names: Sequence[Any], rows: Any) -> Table:
    return {"columns": [str(name) for name in names], "rows": [[_cell(cell) for cell in row] for row in rows]}


def _filled(row: Sequence[Any], width: int) -> list[Any]:
    return [*row, *[None] * (width - len(row))]


def _cell(value: Any) -> Any:
    """A cell as JSON: numbers of numpy as numbers; what is not equal to itself (NaN, NaT) and NA as None."""
    if value is None or type(value) in (str, int, bool):
        return portable(value)
    if hasattr(value, "item") and not hasattr(value, "__len__"):
        value = value.item()
    if (isinstance(value, float) and value != value) or type(value).__name__ in ("NAType", "NaTType"):
        return None
    return portable(value)
