"""Hashes of inputs and of code: equal in every process, different for what differs."""

import base64
import os
import pickle
import re
import subprocess
import sys
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, PrivateAttr

from tocsin.events.errors import Invalid
from tocsin.flows.keys import encoded, input_hash
from tocsin.flows.keys_code import code_hash

BERLIN = ZoneInfo("Europe/Berlin")


class Colour(Enum):
    RED = 1
    BLUE = 2


class Rights(Flag):
    READ = 1
    WRITE = 2


@dataclass
class Point:
    x: int
    y: int


@dataclass
class Named:
    name: str
    seen: set[str] = field(default_factory=set)


class Model(BaseModel):
    x: int
    _secret: int = PrivateAttr(default=0)


class Hidden:
    def __init__(self, things: Any) -> None:
        self.things = things


class Numbers(list[int]):
    unit = "m"


def fresh(letters: str) -> str:
    """Equal text that is not the same object."""
    return "".join(list(letters))


def tagged(unit: str) -> Numbers:
    numbers = Numbers([1, 2])
    numbers.unit = unit
    return numbers


def private(secret: int) -> Model:
    model = Model(x=1)
    model._secret = secret
    return model


DIFFERENT: list[tuple[Any, Any]] = [
    (1, True),
    (1, 1.0),
    (1, "1"),
    (0.0, -0.0),
    (b"a", "a"),
    ([1, 2], (1, 2)),
    ([1, 2], [2, 1]),
    (["ab"], ["a", "b"]),
    ([["a"], "b"], [["a", "b"]]),
    ({"a": 1}, {"a": 2}),
    ({"a": 1}, {1: "a"}),
    ({1, 2}, [1, 2]),
    (OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    (Colour.RED, Colour.BLUE),
    (Rights.READ, Rights.READ | Rights.WRITE),
    (Point(1, 2), Point(2, 1)),
    (Hidden([1]), Hidden([2])),
    (tagged("m"), tagged("km")),
    (private(1), private(2)),
    (None, "None"),
    (date(2024, 1, 1), "2024-01-01"),
    (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=1)))),
    (
        datetime(2024, 10, 27, 2, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2024, 10, 27, 2, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    ),
    (time(1), time(1, tzinfo=UTC)),
    (Path("a"), "a"),
    (Decimal("1.0"), Decimal("1.00")),
    ([10**5000], [10**5000 + 1]),
    (re.compile("a"), re.compile("a", re.IGNORECASE)),
    (partial(fresh, "a"), partial(fresh, "b")),
    (fresh, tagged),
    (deque([1]), deque([1], maxlen=3)),
    (ValueError("a"), ValueError("b")),
]

EQUAL: list[tuple[Any, Any]] = [
    ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
    ({1, 2, 3}, {3, 2, 1}),
    (Counter("ab"), Counter("ba")),
    (defaultdict(list, a=1, b=2), defaultdict(list, b=2, a=1)),
    (Point(1, 2), Point(1, 2)),
    (Named("a", {"x", "y"}), Named("a", {"y", "x"})),
    (Model(x=1), Model.model_validate({"x": 1})),
    (Hidden({"b", "a", "c"}), Hidden({"c", "b", "a"})),
    ([Hidden("ab"), "ab"], [Hidden(fresh("ab")), fresh("ab")]),
    (Hidden([point := Point(1, 2), point]), Hidden([Point(1, 2), Point(1, 2)])),
    (UUID(int=5), UUID(int=5)),
    (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 1, 1, tzinfo=ZoneInfo("UTC"))),
    (MappingProxyType({"a": 1, "b": 2}), MappingProxyType({"b": 2, "a": 1})),
    (float("nan"), float("nan")),
    (fresh, fresh),
    (int, int),
]


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_inputs_have_different_hashes(one: Any, other: Any) -> None:
    assert input_hash({"x": one}) != input_hash({"x": other})
    assert input_hash({"x": one}) == input_hash({"x": one})
    assert input_hash({"x": Hidden(one)}) != input_hash({"x": Hidden(other)})


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_inputs_have_equal_hashes(one: Any, other: Any) -> None:
    assert input_hash({"x": one}) == input_hash({"x": other})
    assert input_hash({"x": [Hidden(one)]}) == input_hash({"x": [Hidden(other)]})


def test_names_belong_to_the_inputs() -> None:
    assert input_hash({"a": 1, "b": 2}) == input_hash({"b": 2, "a": 1})
    assert len({input_hash({"a": 1, "b": 2}), input_hash({"a": 2, "b": 1}), input_hash({"a": 1})}) == 3


plain = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.datetimes(timezones=st.timezones() | st.none())
    | st.decimals(allow_nan=False)
    | st.uuids(allow_nil=True)
)
hashable = st.recursive(plain, lambda inner: st.tuples(inner, inner) | st.frozensets(inner), max_leaves=4)
values = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner) | st.dictionaries(hashable, inner) | st.builds(Point, inner, inner) | st.builds(Hidden, inner)
    ),
    max_leaves=10,
)


class Elsewhere:
    """Another process with another seed for Python's hashes, that is asked for hashes."""

    def __init__(self, seed: str) -> None:
        program = (
            "import sys, pickle, base64\n"
            "from tocsin.flows.keys import input_hash\n"
            "import tests.flows.test_keys\n"
            "for line in sys.stdin:\n"
            "    print(input_hash({'x': pickle.loads(base64.b64decode(line))}), flush=True)\n"
        )
        root = Path(__file__).parents[2]
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            env=environment,
            cwd=root,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def hash(self, value: Any) -> str:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(base64.b64encode(pickle.dumps(value)).decode() + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[Elsewhere]:
    there = Elsewhere("7")
    yield there
    there.close()


@settings(max_examples=100)
@given(value=values)
def test_a_hash_is_the_same_in_another_process(elsewhere: Elsewhere, value: Any) -> None:
    assert elsewhere.hash(value) == input_hash({"x": value})


@given(one=values, other=values)
def test_only_what_is_written_down_alike_has_the_same_hash(one: Any, other: Any) -> None:
    assert (encoded(one) == encoded(other)) == (shape(one) == shape(other))


def shape(value: Any) -> Any:
    """The value as nested tuples in which types count: what 'the same' means for a key."""
    match value:
        case list() | tuple():
            return type(value).__name__, tuple(map(shape, value))
        case set() | frozenset():
            return type(value).__name__, tuple(sorted(map(repr, map(shape, value))))
        case dict():
            return "dict", tuple(sorted(repr((shape(key), shape(entry))) for key, entry in value.items()))
        case Point():
            return "Point", shape(value.x), shape(value.y)
        case Hidden():
            return "Hidden", shape(value.things)
        case datetime():
            return "datetime", value.replace(tzinfo=None), value.fold, value.utcoffset(), zone(value)
        case _:
            return type(value).__name__, repr(value)


def zone(value: datetime) -> str | None:
    return getattr(value.tzinfo, "key", None) or value.tzname()


def generator() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (threading.Lock(), "cannot pickle"),
        (lambda: 1, "which function"),
        (generator(), "cannot pickle"),
        ({"deep": [Hidden(threading.Lock())]}, "cannot pickle"),
        (object(), "no content"),
        (Hidden(open(os.devnull)), "cannot pickle"),  # noqa: SIM115 - closed with the test's process
    ],
    ids=["lock", "lambda", "generator", "a lock deep inside", "a bare object", "an open file"],
)
def test_an_input_without_a_stable_form_is_refused_with_the_way_out(value: Any, why: str) -> None:
    with pytest.raises(Invalid, match=rf"argument 'connection'.*{why}.*INPUTS - 'connection'.*cache_key_fn"):
        input_hash({"connection": value})


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(Invalid, match="contains itself"):
        input_hash({"loop": loop})


# --- code ---


def made(source: str) -> Callable[..., Any]:
    """A function as a file has it."""
    scope: dict[str, Any] = {}
    exec(source, scope)
    function: Callable[..., Any] = scope["f"]
    return function


SOURCE = "def f(a, b=1):\n    return a + b"
CHANGED = [
    "def f(a, b=2):\n    return a + b",
    "def f(a, c=1):\n    return a + c",
    "def f(a, *, b=1):\n    return a + b",
    "def f(a, b=1):\n    return a - b",
    "def f(a, b=1):\n    return a + b + 1",
    "def f(a, b=1):\n    def g():\n        return 1\n    return a + b",
    "def f(a, b=1):\n    return a in {1, 2}",
    "def f(a, b=1):\n    return a in {1, 3}",
    "def f(a, b=1):\n    return a.x",
    "def f(a, b=1):\n    return a.y",
    "def f(a, b=1):\n    def g():\n        return 2\n    return a + b",
    "def f(a, b=1):\n    try:\n        a()\n        b()\n    except ValueError:\n        pass",
    "def f(a, b=1):\n    try:\n        a()\n    except ValueError:\n        pass\n    b()",
    "async def f(a, b=1):\n    return a + b",
]
SAME = [
    "def f(a, b=1):\n    # why\n    return (a +\n        b)",
    '\n\ndef f(a, b=1):\n    "What it gives."\n    return a + b',
]


def test_each_change_of_code_changes_its_hash() -> None:
    assert len({code_hash(made(source), encoded) for source in (SOURCE, *CHANGED)}) == len(CHANGED) + 1


@pytest.mark.parametrize("source", SAME, ids=["layout and comments", "place and docstring"])
def test_what_does_not_run_does_not_change_the_hash_of_code(source: str) -> None:
    assert code_hash(made(source), encoded) == code_hash(made(SOURCE), encoded)


def closing_over(value: Any) -> Callable[[], Any]:
    return lambda: value


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 2, False),
        ((1, "a"), (1, "b"), False),
        (made("f = lambda: 1"), made("f = lambda: 2"), False),
        (made("f = lambda: 1"), made("f = lambda: 1"), True),
        ([1], [2], True),
        (threading.Lock(), threading.Lock(), True),
    ],
    ids=["number", "tuple", "functions", "equal functions", "lists change by themselves", "locks"],
)
def test_what_a_function_closes_over(one: Any, other: Any, same: bool) -> None:
    hashes = [code_hash(closing_over(value), encoded) for value in (one, other)]
    assert (hashes[0] == hashes[1]) is same


def test_a_function_that_calls_itself_has_a_hash() -> None:
    def count(number: int) -> int:
        return count(number - 1) if number else 0

    assert code_hash(count, encoded) == code_hash(count, encoded)


def test_the_hash_of_code_is_the_same_in_another_process() -> None:
    program = (
        "from tocsin.flows.keys import encoded\nfrom tocsin.flows.keys_code import code_hash\n"
        f"scope = {{}}\nexec({CHANGED[6]!r}, scope)\nprint(code_hash(scope['f'], encoded))"
    )
    seen = {
        subprocess.run(
            [sys.executable, "-c", program], env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, text=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert seen == {code_hash(made(CHANGED[6]), encoded)}
