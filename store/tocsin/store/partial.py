"""Indexes over some of a table's rows, and conditions by which databases see that one has the rows asked for."""

from typing import Any

from sqlalchemy import ColumnElement, Index, bindparam, literal, text
from sqlmodel import col


def some(name: str, columns: tuple[str, ...], column: str, values: tuple[str, ...], *, unique: bool = False) -> Index:
    """An index over the rows whose `column` is one of the values, on both databases."""
    listed = ", ".join(f"'{value}'" for value in values)
    rows = text(f"{column} IN ({listed})" if len(values) > 1 else f"{column} = {listed}")
    return Index(name, *columns, unique=unique, sqlite_where=rows, postgresql_where=rows)


def among(column: Any, *values: str) -> ColumnElement[bool]:  # Any: a column as a model or an alias of it has it
    """Whether `column` is one of the values, written out as in `some`: by parameters no partial index is seen."""
    if len(values) == 1:
        return col(column) == literal(values[0], literal_execute=True)
    return col(column).in_(bindparam("among", list(values), expanding=True, unique=True, literal_execute=True))
