"""Rows as values of a request: dicts that JSON brings back with ids, times and texts as they were."""

from typing import TYPE_CHECKING, Any, TypedDict

from sqlmodel import SQLModel

from tocsin.flows import tables
from tocsin.flows.changes import Columns


def row_of(table: type[SQLModel]) -> Any:  # Any: a type that is made at run time
    """The type of a dict with some or all of the table's columns, as msgspec reads it."""
    columns = {name: field.annotation for name, field in table.model_fields.items()}
    return TypedDict(f"{table.__name__}Columns", columns, total=False)  # type: ignore[operator]  # made at run time


if TYPE_CHECKING:
    FlowRow = Columns
    TaskRow = Columns
    LogRow = Columns
else:
    FlowRow = row_of(tables.FlowRun)
    TaskRow = row_of(tables.TaskRun)
    LogRow = row_of(tables.LogLine)
