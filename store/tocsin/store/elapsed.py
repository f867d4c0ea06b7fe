"""The seconds between two columns, in either database."""

from typing import Any

from sqlalchemy import ColumnElement, Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction


class seconds_between(GenericFunction[float]):  # noqa: N801 - named like a function of SQL
    """Seconds from the first instant to the second, to the millisecond; NULL when one of them is."""

    type = Float()
    inherit_cache = True


# Any: what sqlalchemy's compilers pass on.
@compiles(seconds_between, "postgresql")
def _postgresql(element: ColumnElement[float], compiler: Any, **options: Any) -> str:
    first, second = (compiler.process(part, **options) for part in element.clauses)
    return f"EXTRACT(EPOCH FROM ({second} - {first}))"


@compiles(seconds_between, "sqlite")
def _sqlite(element: ColumnElement[float], compiler: Any, **options: Any) -> str:
    first, second = (compiler.process(part, **options) for part in element.clauses)
    return f"ROUND((julianday({second}) - julianday({first})) * 86400, 3)"
