"""The type that is built from a stored schema says of an input what the type behind the schema says."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from tocsin.events.errors import Invalid
from tocsin.flows.inputs import check_input, read_input, schema_of


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    model_config = ConfigDict(extra="forbid")
    street: str = Field(min_length=1)
    number: int = Field(ge=1, le=999)


class Order(BaseModel):
    id: UUID
    ship_to: Address
    items: list[Address] = []
    colour: Colour = Colour.RED
    note: str | None = None


class Code(BaseModel):
    model_config = ConfigDict(regex_engine="python-re")
    code: str = Field(pattern="^(?!b)")


class Tree(BaseModel):
    value: int
    children: list["Tree"] = []


ADDRESS = {"street": "High", "number": 1}
NOBODY = "00000000-0000-0000-0000-000000000000"
CASES: list[tuple[Any, list[Any]]] = [
    (int, [1, "1", 1.5, "x", None, [], True]),
    (float, [1, 1.5, "1.5", "x", None]),
    (bool, [True, "yes", "x", 2]),
    (str, ["x", "", 1, None]),
    (date, ["2026-03-02", "soon", 1.5]),
    (datetime, ["2026-03-02T09:00:00Z", "2026-03-02", "soon"]),
    (timedelta, ["PT1H", "an hour"]),
    (Decimal, ["1.5", 2, []]),
    (UUID, [NOBODY, "x"]),
    (list[int], [[], [1, "2"], ["x"], {}, None]),
    (dict[str, int], [{}, {"a": 1}, {"a": "x"}, []]),
    (tuple[int, str], [[1, "a"], [1], ["x", "a"]]),
    (int | None, [None, 1, "x"]),
    (Literal["a", "b"], ["a", "c", 1]),
    (Annotated[int, Field(gt=3)], [4, 3, "x"]),
    (Annotated[str, Field(pattern="^a+$")], ["aa", "b"]),
    (Code, [{"code": "aa"}, {"code": "ba"}]),
    (Annotated[list[int], Field(min_length=2)], [[1, 2], [1]]),
    (Any, [None, 1, {"a": []}]),
    (Colour, ["red", "green"]),
    (Address, [ADDRESS, {}, {**ADDRESS, "number": 0}, {**ADDRESS, "street": ""}, {**ADDRESS, "zip": 1}]),
    (Order, [{"id": NOBODY, "ship_to": ADDRESS}, {"id": NOBODY, "ship_to": {}}, {"id": "x", "ship_to": ADDRESS}]),
    (Order, [{"id": NOBODY, "ship_to": ADDRESS, "items": [ADDRESS, {}]}, {"id": NOBODY}, {"colour": "green"}]),
    (Tree, [{"value": 1, "children": [{"value": 2}]}, {"value": 1, "children": [{"value": "x"}]}]),
]


@pytest.mark.parametrize(("wanted", "given"), [(kind, each) for kind, all_ in CASES for each in all_], ids=str)
def test_a_stored_schema_says_what_its_type_says(wanted: Any, given: Any) -> None:
    try:
        TypeAdapter(wanted).validate_json(json.dumps(given))
        fits = True
    except ValueError:
        fits = False
    for check in (lambda: check_input(schema_of(wanted), given, "run"), lambda: read_input(wanted, given, "run")):
        if fits:
            check()
        else:
            with pytest.raises(Invalid, match=r"^run: input"):
                check()


def test_every_field_that_does_not_fit_is_named() -> None:
    with pytest.raises(Invalid) as told:
        check_input(schema_of(Order), {"ship_to": {"street": "High", "number": "many"}}, "flow run etl-1")
    assert "flow run etl-1: input 'id': Field required; input 'ship_to.number': Input should be" in str(told.value)


def test_a_type_that_pydantic_does_not_know_is_refused() -> None:
    with pytest.raises(Invalid, match="give a pydantic model or a plain type"):
        schema_of(object())


def test_what_is_not_json_is_refused() -> None:
    with pytest.raises(Invalid, match="must be JSON"):
        check_input({}, {1, 2}, "run")
