"""Variables: any JSON by name, shared by flows, and by the templates of deployments."""

import asyncio
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.flows.conftest import Book
from tocsin.events.errors import Conflict, Invalid, NotFound
from tocsin.events.ids import uuid7
from tocsin.flows import flow
from tocsin.flows.deployments import Deployment
from tocsin.flows.runs import create_run
from tocsin.flows.variables import PutVariable, Variable, list_variables

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_comes_back(book: Book, value: Any) -> None:
    Variable.set("x", value, overwrite=True)
    found = Variable.get("x")
    assert (found, type(found)) == (value, type(value))


def test_a_tag_by_itself_is_one_tag(quick: Book) -> None:
    assert Variable.set("weight", 1, tags="sales").tags == ["sales"]


def test_a_name_is_taken_until_overwrite_is_said(book: Book) -> None:
    made = Variable.set("shops", ["berlin"], tags=["sales"])
    assert (made.name, made.value, made.tags) == ("shops", ["berlin"], ["sales"])
    with pytest.raises(Conflict, match='"shops" already; set it with overwrite=True'):
        Variable.set("shops", ["lagos"])
    Variable.set("shops", ["lagos"], overwrite=True)
    assert Variable.get("shops") == ["lagos"]
    with book.store.read() as session:
        assert [(one.name, one.tags) for one in list_variables(session)] == [("shops", [])]
        assert list_variables(session, tag="sales") == []


def test_a_missing_one_is_named_with_the_known_ones_or_is_the_default(book: Book) -> None:
    Variable.set("shops", None)
    with pytest.raises(NotFound, match='unknown variable "shop"; known: shops'):
        Variable.get("shop")
    assert (Variable.get("shop", None), Variable.get("shop", default=3), Variable.get("shops", 3)) == (None, 3, None)
    assert (Variable.unset("shops"), Variable.unset("shops")) == (True, False)


def test_a_request_that_is_repeated_changes_nothing(book: Book) -> None:
    put = PutVariable(name="x", value=1, tags=[], overwrite=False, written=uuid7(), now=NOW)
    assert book.ledger.ask(put) == book.ledger.ask(put)


BAD: list[tuple[str, str, Any, str]] = [
    ("upper case", "Shops", 1, "variable name 'Shops'"),
    ("empty", "", 1, "variable name ''"),
    ("a tuple", "x", (1, 2), "a value is JSON"),
    ("not a number", "x", math.nan, "a value is JSON"),
    ("a number as key", "x", {1: 2}, "a value is JSON"),
    ("too large", "x", "y" * 64_000, "64,002 characters"),
]


@pytest.mark.parametrize(("name", "value", "says"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_what_cannot_be_kept_is_refused(quick: Book, name: str, value: Any, says: str) -> None:
    with pytest.raises(Invalid, match=says):
        Variable.set(name, value)


def test_flows_and_coroutines_use_them(book: Book) -> None:
    @flow
    async def count() -> int:
        await Variable.aset("count", int(await Variable.aget("count", 0)) + 1, overwrite=True)
        return int(Variable.get("count"))

    assert [asyncio.run(count()), asyncio.run(count())] == [1, 2]
    assert asyncio.run(Variable.aunset("count"))


def test_a_deployment_takes_them_into_its_parameters(book: Book) -> None:
    parameters = {"shops": "{{ variables.shops }}", "text": "at {{ variables['day-of'] }}", "day": "{{ variables.no }}"}
    Deployment(name="etl", entrypoint="etl.py:etl", flow_name="etl", parameters=parameters).apply(book.store)
    Variable.set("shops", ["berlin", "lagos"])
    Variable.set("day-of", 3)
    with book.store.begin() as session:
        run = create_run(session, "etl", now=NOW)
    assert run.parameters == {"shops": ["berlin", "lagos"], "text": "at 3", "day": None}
