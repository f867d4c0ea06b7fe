"""What the key of a cached result is made of."""

from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.flows.conftest import Book
from tocsin.events.errors import Invalid
from tocsin.flows import flow, task
from tocsin.flows.cache import LONGEST, CacheContext, stored_key
from tocsin.flows.cache_policies import (
    DEFAULT,
    FLOW_PARAMETERS,
    INPUTS,
    NO_CACHE,
    RUN_ID,
    TASK_SOURCE,
    CacheKeyFnPolicy,
    CachePolicy,
    as_policy,
    task_input_hash,
)
from tocsin.flows.storage import storage_at


def add(a: int, b: int = 1) -> int:
    return a + b


def subtract(a: int, b: int = 1) -> int:
    return a - b


ARGUMENTS = {"a": 1, "b": 2}
RUN, TASK_RUN = UUID(int=1), UUID(int=2)


def context(
    fn: Callable[..., Any] = add,
    key: str = "shop.add",
    run: UUID | None = RUN,
    task_run: UUID = TASK_RUN,
    parameters: dict[str, Any] | None = None,
) -> CacheContext:
    return CacheContext(task(fn), key, task_run, run, parameters)


BY_DAY = CacheKeyFnPolicy(lambda context, arguments: f"day {arguments['a']}")
HERE = context(parameters={"day": "monday"})
OTHER_CODE = context(subtract, parameters={"day": "monday"})
OTHER_TASK = context(key="shop.other", parameters={"day": "monday"})
OTHER_RUN = context(run=uuid4(), parameters={"day": "monday"})
OTHER_DAY = context(parameters={"day": "tuesday"})
OTHERS = {"code": OTHER_CODE, "task": OTHER_TASK, "run": OTHER_RUN, "day": OTHER_DAY}

COUNTS = [
    (INPUTS, {"a", "b", "task"}),
    (INPUTS - "a", {"b", "task"}),
    (INPUTS - ["a", "b"], {"task"}),
    (TASK_SOURCE, {"code", "task"}),
    (RUN_ID, {"run", "task"}),
    (FLOW_PARAMETERS, {"day", "task"}),
    (FLOW_PARAMETERS - "day", {"task"}),
    (INPUTS + TASK_SOURCE, {"a", "b", "code", "task"}),
    (INPUTS + TASK_SOURCE - "b", {"a", "code", "task"}),
    (DEFAULT, {"a", "b", "code", "run", "task"}),
    (DEFAULT - "a", {"b", "code", "run", "task"}),
    (NO_CACHE + INPUTS, {"a", "b", "task"}),
    (INPUTS + NO_CACHE, {"a", "b", "task"}),
    (BY_DAY, {"a"}),
    (BY_DAY + TASK_SOURCE, {"a", "code", "task"}),
    (TASK_SOURCE + (lambda context, arguments: f"day {arguments['a']}"), {"a", "code", "task"}),
]


@pytest.mark.parametrize(("policy", "counts"), COUNTS, ids=[repr(policy) for policy, _ in COUNTS])
def test_exactly_what_a_policy_names_changes_its_key(policy: CachePolicy, counts: set[str]) -> None:
    key = policy.key(HERE, ARGUMENTS)
    assert key == policy.key(context(parameters={"day": "monday"}), dict(ARGUMENTS))
    changed = {name for name, other in OTHERS.items() if policy.key(other, ARGUMENTS) != key}
    changed |= {name for name in ARGUMENTS if policy.key(HERE, ARGUMENTS | {name: 9}) != key}
    assert changed == counts


@pytest.mark.parametrize(
    "policy",
    [
        NO_CACHE,
        NO_CACHE - "a",
        NO_CACHE + NO_CACHE,
        CacheKeyFnPolicy(lambda context, arguments: None),
        INPUTS + (lambda context, arguments: None),
    ],
    ids=repr,
)
def test_no_key_is_no_caching(policy: CachePolicy) -> None:
    assert policy.key(HERE, ARGUMENTS) is None


def test_outside_a_flow_the_run_is_the_task_s_and_there_are_no_parameters() -> None:
    assert RUN_ID.key(context(run=None), {}) != RUN_ID.key(context(run=None, task_run=uuid4()), {})
    assert (INPUTS + FLOW_PARAMETERS).key(context(run=None), ARGUMENTS) is None


def test_a_policy_says_what_it_is() -> None:
    assert repr(DEFAULT - "b") == "INPUTS - 'b' + TASK_SOURCE + RUN_ID"
    assert repr(as_policy("t", add)) == "CacheKeyFnPolicy(add)"  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("given", ["INPUTS", 7, dict])
def test_what_is_no_policy_is_refused_when_the_task_is_defined(given: Any) -> None:
    with pytest.raises(Invalid, match=r'task "add": .* is no cache policy'):
        task(cache_policy=given)(add)


@pytest.mark.parametrize("given", [3, [3]])
def test_only_names_can_be_left_out(given: Any) -> None:
    with pytest.raises(Invalid, match="the name of an argument"):
        INPUTS - given


def test_task_input_hash_sees_code_and_inputs() -> None:
    key = task_input_hash(HERE, ARGUMENTS)
    assert key == task_input_hash(OTHER_RUN, ARGUMENTS)
    assert len({key, task_input_hash(OTHER_CODE, ARGUMENTS), task_input_hash(HERE, {"a": 1, "b": 3})}) == 3


def test_a_default_without_a_hash_is_an_error_of_the_task() -> None:
    def uses(connection: Any = object()) -> None: ...  # noqa: B008 - as people write

    with pytest.raises(Invalid, match=r"task shop.add: its defaults .* no stable hash"):
        TASK_SOURCE.key(context(uses), {})


@settings(max_examples=50)
@given(st.text(), st.text())
def test_a_key_of_any_text_can_be_stored_and_stays_apart(one: str, other: str) -> None:
    keys = [stored_key(one), stored_key(one + "x" * LONGEST), stored_key(other)]
    assert all(len(key) <= LONGEST and "\0" not in key for key in keys)
    assert [key.encode().decode() for key in keys] == keys
    assert (keys[0] == keys[2]) is (one == other)
    assert keys[0] != keys[1]


def test_the_parameters_of_the_flow_are_those_that_its_function_gets(quick: Book) -> None:
    seen: list[int] = []

    @task(cache_policy=FLOW_PARAMETERS)
    def once_a_day() -> int:
        seen.append(1)
        return len(seen)

    @flow
    def daily(day: int, token: str = "") -> int:
        return once_a_day() + once_a_day()

    assert [daily("1"), daily(1), daily(2), daily(1, token="a"), daily(1, token="b")] == [2, 2, 4, 6, 8]  # type: ignore[call-overload]


def test_a_refreshed_result_takes_the_place_of_the_old_one(quick: Book) -> None:
    seen: list[int] = []

    @task(cache_policy=INPUTS)
    def measure() -> int:
        seen.append(1)
        return len(seen)

    assert [measure(), measure(), measure.with_options(refresh_cache=True)(), measure()] == [1, 1, 2, 2]


def test_a_lost_result_is_computed_again_and_the_run_s_log_says_so(book: Book) -> None:
    seen: list[int] = []

    @task(cache_policy=INPUTS)
    def pair() -> tuple[int, int]:
        seen.append(1)
        return 1, len(seen)

    @flow
    def pairs() -> tuple[int, int]:
        return pair()

    assert pairs() == (1, 1)
    (file,) = storage_at("").files()
    storage_at("").remove(file.name)
    assert pairs() == pairs() == (1, 2)
    assert [line for line in book.lines() if "runs again, its earlier result is lost" in line]
